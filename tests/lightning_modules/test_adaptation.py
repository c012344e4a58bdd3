"""The objective of a network's adaptation, by automatic differentiation on small problems."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toys import CLASSES, OPS, blobs

from influence.k_priors import Memory
from lightning_modules.adaptation.adaptation_module import Adaptation
from lightning_modules.adaptation.adapted_classifier import AdaptationSettings
from lightning_modules.adaptation.points import Method, Plan, Points, make_plan
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.data import LabelledImages, MemoryStore
from lightning_modules.data.labelled_images import join

KEPT, REMOVED, ADDED = torch.arange(3, 23), torch.arange(3), torch.arange(23, 29)
NONE = torch.zeros(0, dtype=torch.int64)
FULL = Memory(torch.arange(20), torch.ones(20, dtype=torch.float64))
TENTH = Memory(torch.tensor([4, 11]), torch.full((2,), 10.0, dtype=torch.float64))
IMAGES, LABELS = blobs(29, 2.0, seed=3)


def classifier(seed: int = 0, **arguments: Any) -> AugmentedClassifier:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"ops": OPS, "model": "toys.ToyNet", "num_classes": CLASSES, "in_channels": 1}
    return AugmentedClassifier(**{**settings, "control": "plain", **arguments})


def adaptation(plan: Plan, moved: float = 0.0, student: AugmentedClassifier | None = None, **arguments: Any) -> Any:
    """The adaptation of a classifier that has moved away from the old one; nothing is logged."""
    teacher = classifier()
    if student is None:
        student = classifier()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.add_(moved * torch.randn_like(parameter))
    defaults: dict[str, Any] = {"decay": 0.01, "old_decay": 0.01, "fresh": False, "original": False}
    module = Adaptation(student, teacher, plan, **(defaults | arguments))
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    return module.train()


def gradient(module: Any, rows: Tensor) -> list[Tensor]:
    """Gradient of the whole plan in one step, with the weight term, as the optimiser sees it."""
    plan = module.plan
    module.training_step((IMAGES[rows], LABELS[rows], plan.soft, plan.hard), 0).backward()
    module.on_before_optimizer_step(torch.optim.SGD(module.student.network.parameters(), lr=0.1))
    return [parameter.grad for parameter in module.student.network.parameters() if parameter.requires_grad]


def linear(**arguments: Any) -> AugmentedClassifier:
    return classifier(model="test_adaptation.LinearNet", **arguments)


class LinearNet(nn.Sequential):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(in_channels * 144, num_classes))


# Plans


@pytest.mark.parametrize(
    ("method", "count", "total"), [("k_prior", 2 + 3 + 6, 26.0), ("replay", 8, 26.0), ("retrain", 26, 26.0)]
)
def test_points_stand_for_what_is_to_be_learned(method: Method, count: int, total: float) -> None:
    """20 images stay, 3 go, 6 come; with importance weights every method stands for all 26."""
    plan = make_plan(method, KEPT, REMOVED, ADDED, TENTH)
    assert (len(plan.rows), plan.total) == (count, total)
    assert (set(plan.rows.tolist()) & {0, 1, 2} != set()) == (method == "k_prior")
    if method == "k_prior":
        assert (plan.decay, plan.old_decay) == (1.0, 23 / 26)


def test_fine_tuning_sees_the_added_images_alone() -> None:
    plan = make_plan("fine_tune", KEPT, NONE, ADDED, TENTH)
    assert torch.equal(plan.rows, ADDED)
    with pytest.raises(ValueError, match="method fine_tune trains on added images alone"):
        make_plan("fine_tune", KEPT, REMOVED, NONE, TENTH)


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match="method must be one of k_prior, replay, fine_tune, retrain, found 'ewc'"):
        make_plan("ewc", KEPT, NONE, ADDED, TENTH)  # type: ignore[arg-type]


@pytest.mark.parametrize("fraction", [0.0, 1.5])
def test_memory_is_a_share(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"memory must lie in \(0, 1\], found"):
        AdaptationSettings("k_prior", fraction, "random")


# The objective


def test_without_a_change_the_old_model_is_stationary() -> None:
    """Although it has dropout and batch statistics, and its own training loss is far from a minimum."""
    module = adaptation(make_plan("k_prior", KEPT, NONE, NONE, TENTH))
    assert max(float(g.abs().max()) for g in gradient(module, module.plan.rows)) < 1e-7


@pytest.mark.parametrize("task", ["add", "remove", "decay"])
def test_full_memory_gives_the_gradient_of_retraining_wherever_the_classifier_is(task: str) -> None:
    """For a linear network whose old weights are stationary, as those of an exactly trained one are."""
    kept, removed = (torch.arange(3, 23), REMOVED) if task == "remove" else (torch.arange(23), NONE)
    added = ADDED if task == "add" else NONE
    decay = 0.3 if task == "decay" else 0.1
    teacher = linear().double()
    past = torch.arange(23)
    optimizer = torch.optim.LBFGS(teacher.network.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0)

    def loss(model: AugmentedClassifier, rows: Tensor, decay: float) -> Tensor:
        norm = torch.stack([parameter.square().sum() for parameter in model.network.parameters()]).sum()
        return F.cross_entropy(model(IMAGES[rows].double()), LABELS[rows]) + decay / 2 * norm

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(teacher, past, 0.1)
        value.backward()
        return value

    for _ in range(20):
        optimizer.step(closure)
    memory = Memory(torch.arange(len(kept)), torch.ones(len(kept), dtype=torch.float64))
    plan = make_plan("k_prior", kept, removed, added, memory)
    student = linear().double()
    student.network.load_state_dict(teacher.network.state_dict())
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    module: Any = Adaptation(student, teacher, plan, decay=decay, old_decay=0.1, fresh=False, original=False)
    module.log = lambda *args, **kwargs: None
    module.train()
    rows = plan.rows
    module.training_step((IMAGES[rows].double(), LABELS[rows], plan.soft, plan.hard), 0).backward()
    module.on_before_optimizer_step(torch.optim.SGD(student.network.parameters(), lr=0.1))
    found = [parameter.grad for parameter in student.network.parameters()]
    student.zero_grad()
    loss(student, torch.cat([kept, added]), decay).backward()
    for ours, theirs in zip(found, (parameter.grad for parameter in student.network.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)  # the logits are rounded to float32


@pytest.mark.parametrize("method", ["replay", "fine_tune"])
def test_baselines_are_cross_entropy_and_weight_decay(method: Method) -> None:
    module = adaptation(make_plan(method, KEPT, NONE, ADDED, TENTH), moved=0.1)
    rows, weights = module.plan.rows, module.plan.hard
    found = gradient(module, rows)
    student = module.student
    student.zero_grad()
    losses = F.cross_entropy(student(IMAGES[rows]), LABELS[rows], reduction="none")
    norm = sum(parameter.square().sum() for parameter in student.network.parameters() if parameter.requires_grad)
    ((losses * weights).sum() / weights.sum() + 0.01 / 2 * norm).backward()
    for ours, parameter in zip(found, (p for p in student.network.parameters() if p.requires_grad), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_fresh_network_is_not_pulled_to_old_weights() -> None:
    plan = make_plan("k_prior", KEPT, NONE, NONE, FULL)
    module = adaptation(plan, student=classifier(seed=5, model_kwargs={"width": 7}), fresh=True)
    with torch.no_grad():
        for parameter in module.student.network.parameters():
            parameter.grad = torch.zeros_like(parameter)
    module.on_before_optimizer_step(torch.optim.SGD(module.student.network.parameters(), lr=0.1))
    for parameter in module.student.network.parameters():
        torch.testing.assert_close(parameter.grad, 0.01 * parameter.detach())


@pytest.mark.parametrize("fresh", [False, True])
def test_the_weight_term_is_for_the_weights_that_decayed(fresh: bool) -> None:
    """Where only kernels decay, biases and batch normalization are neither pulled nor shrunk."""
    plan = make_plan("k_prior", KEPT, NONE, NONE, FULL)
    module = adaptation(plan, moved=0.1, student=classifier(decay_kernels_only=True), fresh=fresh)
    module.teacher.decay_kernels_only = True
    old = dict(module.teacher.network.named_parameters())
    for parameter in module.student.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    module.on_before_optimizer_step(torch.optim.SGD(module.student.network.parameters(), lr=0.1))
    for name, parameter in module.student.network.named_parameters():
        expected = torch.zeros_like(parameter)
        if name in ("1.body.1.weight", "1.head.weight"):
            expected = 0.01 * (parameter.detach() - (0 if fresh else old[name].detach()))
        torch.testing.assert_close(parameter.grad, expected)


@pytest.mark.parametrize("kernels_only", [False, True])
def test_the_optimiser_says_what_decayed(kernels_only: bool) -> None:
    """A checkpoint of the adapted classifier is adapted once more from these numbers."""
    module = adaptation(
        make_plan("replay", KEPT, NONE, NONE, TENTH), student=classifier(decay_kernels_only=kernels_only)
    )
    groups = [{"weight_decay": 0.0}, {"weight_decay": 0.0}]
    optimizer = SimpleNamespace(param_groups=groups)
    module.trainer = SimpleNamespace(optimizers=[optimizer])
    module.on_train_end()
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0 if kernels_only else 0.01]


@pytest.mark.parametrize("fresh", [False, True])
def test_modes(fresh: bool) -> None:
    module = adaptation(make_plan("retrain", KEPT, NONE, NONE, FULL), fresh=fresh)
    assert not any(part.training for part in module.teacher.modules())
    assert all(part.training == fresh for part in module.student.network.modules())
    assert module.student.augmentation.training


@pytest.mark.parametrize("original", [False, True])
def test_old_model_sees_the_view_that_its_policy_made_or_the_original(
    original: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = adaptation(make_plan("k_prior", KEPT, NONE, NONE, TENTH), original=original)
    seen: dict[str, Tensor] = {}
    monkeypatch.setattr(module.student, "augment", lambda images, labels: (1 - images, labels))
    for name in ("student", "teacher"):
        getattr(module, name).network.register_forward_pre_hook(
            lambda network, args, name=name: seen.update({name: args[0].clone()})
        )
    rows = module.plan.rows
    module.training_step((IMAGES[rows], LABELS[rows], module.plan.soft, module.plan.hard), 0)
    torch.testing.assert_close(seen["student"], 1 - IMAGES[rows])
    torch.testing.assert_close(seen["teacher"], IMAGES[rows] if original else 1 - IMAGES[rows])


# Images


def stored(value: int, count: int, first: int) -> LabelledImages:
    images = torch.full((count, 1, 2, 2), value, dtype=torch.uint8) + torch.arange(count)[:, None, None, None]
    return LabelledImages(MemoryStore(images.to(torch.uint8)), torch.arange(first, first + count))


def test_joined_images_come_in_the_order_they_are_asked_for() -> None:
    joined = join([stored(0, 3, 0), stored(100, 2, 3), stored(200, 4, 5)])
    assert len(joined) == 9
    order = [8, 0, 4, 3, 2, 8, 5]
    images, labels = joined.__getitems__(order)
    pixels = torch.tensor([0, 1, 2, 100, 101, 200, 201, 202, 203])[order]
    torch.testing.assert_close(images[:, 0, 0, 0] * 255, pixels.float())
    assert labels.tolist() == order


def test_points_carry_their_counts() -> None:
    plan = replace_rows(torch.tensor([4, 1, 3]))
    images, labels, soft, hard = Points(join([stored(0, 3, 0), stored(100, 2, 3)]), plan).__getitems__([2, 0])
    assert labels.tolist() == [3, 4]
    assert (images[:, 0, 0, 0] * 255).round().tolist() == [100, 101]
    assert (soft.tolist(), hard.tolist()) == ([3.0, 1.0], [-3.0, -1.0])


def replace_rows(rows: Tensor) -> Plan:
    return Plan(rows, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([-1.0, -2.0, -3.0]), 1.0, 1.0)
