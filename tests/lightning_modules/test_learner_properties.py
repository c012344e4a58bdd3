"""What holds for an update whatever the shapes, the types and the policy."""

import copy
import io
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exact_resume import same
from torch import Tensor, nn

from augnet import AugNet
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.policy_choice import PolicyName, build_policy
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import LearnerSettings

OPS = {"rotation": 90.0, "scale": 0.7, "translate_x": 0.3, "brightness": 0.5, "noise": 0.2, "horizontal_flip": 1.0}
POLICIES: tuple[PolicyName, ...] = (
    "ranges",
    "intervals",
    "mixture",
    "trivial_augment_mixture",
    "conditional",
    "class_conditional",
    "field",
)
AUTOCAST = torch.bfloat16  # around the network, which then is float32


class Network(nn.Module):
    """Batch normalization, dropout, a convolution; any size of image."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.body(images)))
        return logits


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    policy = draw(st.sampled_from(POLICIES))
    channels = draw(st.sampled_from({"trivial_augment_mixture": [3], "field": [1, 3]}.get(policy, [1, 2, 3, 4])))
    smallest = 2 if policy == "field" else 1
    return {
        "policy": policy,
        "shape": (draw(st.integers(1, 9)), channels, draw(st.integers(smallest, 13)), draw(st.integers(smallest, 13))),
        "classes": draw(st.integers(2, 5)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64, AUTOCAST])),
        "initial": draw(st.sampled_from([0.01, 0.3, 1.0])),
        "ops_per_image": draw(st.sampled_from([1, 2])),
        "seed": draw(st.integers(0, 2**16)),
    }


def learner_of(case: dict[str, Any]) -> PolicyLearner:
    torch.manual_seed(case["seed"])
    _, channels, height, width = case["shape"]
    dtype = torch.float32 if case["dtype"] == AUTOCAST else case["dtype"]
    context: Callable[[], Any] = nullcontext
    if case["dtype"] == AUTOCAST:
        context = lambda: torch.autocast("cpu", dtype=AUTOCAST)  # noqa: E731
    model = Network(channels, case["classes"]).to(dtype)
    augnet: AugNet[Any, Any] = build_policy(
        case["policy"],
        OPS,
        initial_range=case["initial"],
        ops_per_image=case["ops_per_image"],
        in_channels=channels,
        num_classes=case["classes"],
        image_size=(height, width),
    )
    influence_set = (torch.rand(7, channels, height, width, dtype=dtype), torch.arange(7) % case["classes"])
    return PolicyLearner(
        augnet.to(dtype).requires_grad_(False),
        FeatureCapture(model, model.head),
        influence_set,
        LearnerSettings(refresh=2, hessian_rows=16),
        forward_context=context,
        seed=case["seed"],
    )


def batch_of(case: dict[str, Any], learner: PolicyLearner) -> tuple[Tensor, Tensor]:
    labels = torch.randint(case["classes"], case["shape"][:1])
    return torch.rand(case["shape"], dtype=learner.influence.influence_set[0].dtype), labels


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything an update must leave alone."""
    return {
        "tensors": {name: value.clone() for name, value in model.state_dict().items()},
        "modes": [module.training for module in model.modules()],
        "wanted": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [parameter.grad is None for parameter in model.parameters()],
    }


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(cases())
def test_an_update(case: dict[str, Any]) -> None:
    """The classifier is bit for bit the same, images stay images, the policy stays finite."""
    learner = learner_of(case)
    model, images = learner.capture.model, batch_of(case, learner)
    model.body[1](torch.rand(4, 4, 3, 3, dtype=images[0].dtype))  # type: ignore[index, operator]
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    before, originals = state_of(model), images[0].clone()
    start = copy.deepcopy(learner.augnet.state_dict())
    for _ in range(3):
        update = learner.update(*images)
        assert update.influence.shape == images[1].shape
        assert update.influence.isfinite().all()
        assert not update.influence.requires_grad
    same(state_of(model), before)
    assert torch.equal(images[0], originals)
    for pixels in seen:
        assert pixels.shape[1:] == images[0].shape[1:]
        assert pixels.dtype == images[0].dtype
        assert float(pixels.min()) >= 0
        assert float(pixels.max()) <= 1
    assert all(bool(value.isfinite().all()) for value in learner.augnet.state_dict().values())
    moved = any(not torch.equal(value, start[name]) for name, value in learner.augnet.state_dict().items())
    assert moved or update.event is not None or not has_gradient(learner)


def has_gradient(learner: PolicyLearner) -> bool:
    """Whether the latest gradient was anything but zero; at its bound a range has none."""
    return any(bool(p.grad.any()) for p in learner.augnet.parameters() if p.grad is not None)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases(), st.integers(1, 3))
def test_the_state_of_a_learner_goes_through_a_file(case: dict[str, Any], updates: int) -> None:
    """Bit for bit; a learner with the state of another does what that one does."""
    learner, other = learner_of(case), learner_of({**case, "seed": case["seed"] + 1})
    batches = [batch_of(case, learner) for _ in range(updates + 2)]
    for batch in batches[:updates]:
        learner.update(*batch)
    file = io.BytesIO()
    torch.save({"learner": learner.state_dict(), "policy": learner.augnet.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other.capture.model.load_state_dict(learner.capture.model.state_dict())
    other.influence.influence_set = learner.influence.influence_set
    other.augnet.load_state_dict(saved["policy"])
    other.load_state_dict(saved["learner"])
    same(other.state_dict(), learner.state_dict())
    for batch in batches[updates:]:
        first, second = learner.update(*batch), other.update(*batch)
        same(vars(second.solution), vars(first.solution))
        assert torch.equal(first.influence, second.influence)
    same(other.state_dict(), learner.state_dict())
    same(dict(other.augnet.state_dict()), dict(learner.augnet.state_dict()))
