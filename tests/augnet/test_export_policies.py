"""Every kind of policy as an ONNX graph: the pixels of torch for the same draws."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from augnet import AugNet, ClassConditionalPolicy, ConditionalPolicy, IntervalPolicy, MixturePolicy, TransformSpace
from augnet.classic import classic_space
from augnet.export import export_onnx, to_torchvision

SPACE = TransformSpace(["rotation", "noise"])
CLASSES = 4
NETS: dict[str, Callable[[], AugNet[Any, Any]]] = {
    "mixture": lambda: AugNet(classic_space(), MixturePolicy.trivial_augment(ops_per_image=2)),
    "mixture_over_ops": lambda: AugNet(SPACE, MixturePolicy.over(SPACE, strengths=5)),
    "conditional": lambda: AugNet(SPACE, ConditionalPolicy(SPACE, 3)),
    "interval": lambda: AugNet(SPACE, IntervalPolicy(SPACE)),
    "class_conditional": lambda: AugNet(SPACE, ClassConditionalPolicy(SPACE, CLASSES)),
    "field": lambda: AugNet.from_fields(3, 16, 16),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETS)
def test_same_pixels_for_the_same_draws(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = NETS[kind]().train().requires_grad_(False)
    for parameter in net.policy.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    images, labels = torch.rand(5, 3, 16, 16), torch.eye(CLASSES)[[0, 1, 2, 3, 0]]
    export_onnx(net, tmp_path / "net.onnx", 16, 16, num_classes=CLASSES if kind == "class_conditional" else 0)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    draws = net.draw(images)
    known = {"images": images, "policy_uniform": draws.numbers, "labels": labels}
    known |= {f"{name}_normal": field for name, field in draws.noise.items()}
    feed = {entry.name: known[entry.name].numpy() for entry in session.get_inputs()}
    (found,) = session.run(None, feed)
    expected = net(images, labels, draws=draws)[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)
    assert (expected - images).abs().max() > 0.01


def test_a_field_network_is_no_transform() -> None:
    with pytest.raises(ValueError, match="a field network is for images of one size"):
        to_torchvision(AugNet.from_fields(1, 8, 8))
