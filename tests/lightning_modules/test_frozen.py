import pytest
import torch
from torch import Tensor, nn
from toys import ToyNet, blobs

from lightning_modules.learner.feature_capture import frozen


def mixed() -> ToyNet:
    """A model with both flags in both states."""
    torch.manual_seed(0)
    model = ToyNet()
    model.body[2].eval()  # its owner froze the statistics, and one weight
    model.head.weight.requires_grad_(False)
    return model


def flags(model: nn.Module) -> tuple[dict[str, bool], dict[str, bool]]:
    modes = {name: module.training for name, module in model.named_modules()}
    return modes, {name: parameter.requires_grad for name, parameter in model.named_parameters()}


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@pytest.mark.parametrize("training", [True, False])
def test_every_flag_is_restored(training: bool) -> None:
    model = mixed() if training else mixed().eval()
    model.body[4].train()
    before = flags(model)
    assert len(set(before[1].values())) == 2
    assert len(set(before[0].values())) == 2
    with frozen(model):
        modes, wanted = flags(model)
        assert not any(modes.values())
        assert not any(wanted.values())
    assert flags(model) == before


def test_every_flag_is_restored_after_an_error() -> None:
    model = mixed()
    before = flags(model)
    with pytest.raises(ZeroDivisionError), frozen(model):
        raise ZeroDivisionError
    assert flags(model) == before


def test_it_nests() -> None:
    model = mixed()
    before = flags(model)
    with frozen(model):
        with frozen(model):
            pass
        assert not any(value for kind in flags(model) for value in kind.values())
    assert flags(model) == before


def test_gradient_flows_to_the_input_and_nowhere_else() -> None:
    images = blobs(6, 1, 0)[0].requires_grad_()
    reference = mixed().eval()
    (expected,) = torch.autograd.grad(reference(images).square().sum(), images)
    model = mixed()
    statistics = buffers(model)
    with frozen(model):
        model(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert torch.equal(images.grad, expected)
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, statistics[name]), name
