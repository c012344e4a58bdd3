from collections.abc import Callable

import pytest
import torch
from augnet_images import noise

from augnet import AugNet

NAMES = ("horizontal_flip", "crop", "rotation", "perspective_x", "brightness", "hue", "gamma", "cutout", "noise")


@pytest.mark.slow
def test_the_whole_module_is_one_graph_with_the_same_draws() -> None:
    net, images = AugNet.from_ops(NAMES, initial=0.5), noise(4, 3, 9, 8, dtype=torch.float32)
    compiled = torch.compile(net, fullgraph=True, backend="eager")  # what is captured, without building kernels

    def call(module: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            result = module(images)
        (gradient,) = torch.autograd.grad(result.square().sum(), net.policy.theta)
        return result.detach(), gradient

    for found, expected in zip(call(compiled), call(net), strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.equal(call(net)[0], images)
