"""A learner of a small policy, and independent arithmetic to hold it to."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from toys import CLASSES, SIDE, ToyNet, blobs

from augnet import AugNet
from augnet.baselines import Baseline, MixingBaseline
from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.guard import GuardSettings
from lightning_modules.learner.policy_choice import PolicyName, build_policy
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.ranks import Ranks
from lightning_modules.learner.settings import InfluenceControl, LearnerSettings

INFLUENCE_SET = blobs(30, 2.5, 1)
BATCH = blobs(12, 0, 2)
TINY_OPS = {"rotation": 45.0, "translate_x": 0.3, "brightness": 0.3}


def make(
    control: InfluenceControl = "none",
    ops: dict[str, float] | None = None,
    double: bool = False,
    initial: float = 0.3,
    policy: PolicyName = "ranges",
    width: int = 5,
    forward_context: Callable[[], Any] | None = None,
    base: Baseline | MixingBaseline | None = None,
    guard: GuardSettings | None = None,
    ranks: Ranks | None = None,
    **settings: Any,
) -> PolicyLearner:
    """A learner of a fresh policy in front of a fresh classifier, always from the same seed."""
    torch.manual_seed(0)
    model = ToyNet(width=width)
    augnet = build_policy(
        policy,
        TINY_OPS if ops is None else ops,
        initial_range=initial,
        ops_per_image=1,
        in_channels=1,
        num_classes=CLASSES,
        image_size=(SIDE, SIDE),
    ).requires_grad_(False)
    images, labels = INFLUENCE_SET
    if double:
        model, augnet, images = model.double(), augnet.double(), images.double()
    context: dict[str, Any] = {} if forward_context is None else {"forward_context": forward_context}
    return PolicyLearner(
        augnet,
        FeatureCapture(model, model.head),
        (images, labels),
        LearnerSettings(**{"refresh": 1, "radius": None, "sparsity": 0.0, **settings}),
        base=base,
        guard=guard or GuardSettings(),
        control=control,
        ranks=ranks,
        seed=3,
        **context,
    )


def network(learner: PolicyLearner) -> ToyNet:
    """The classifier itself."""
    assert isinstance(learner.capture.model, ToyNet)
    return learner.capture.model


def oracle_network(learner: PolicyLearner) -> ToyNet:
    """A copy of the classifier in evaluation mode."""
    return copy.deepcopy(network(learner)).eval()


def influence_by_double_backward(model: ToyNet, augmented: Tensor, labels: Tensor, S: Tensor) -> Tensor:
    """`I_i = -<S, gradient of sample i's loss in the last layer>`, differentiable in the images."""
    head = torch.cat([model.head.weight, model.head.bias[:, None]], dim=1).detach().requires_grad_()
    rows = torch.nn.functional.pad(model.scale * model.body(augmented), (0, 1), value=1.0)
    losses = nn.functional.cross_entropy(rows @ head.T, labels, reduction="none")
    gradients = [torch.autograd.grad(loss, head, create_graph=True)[0] for loss in losses]
    return -torch.stack([(S * gradient).sum() for gradient in gradients])


def train_with(augnet: AugNet, control: InfluenceControl, seed: int, steps: int, **settings: Any) -> PolicyLearner:
    """Train classifier and policy together; the learner as it is at the end."""
    torch.manual_seed(seed)
    model = ToyNet()
    images, labels = blobs(192, 0, seed)
    chosen = LearnerSettings(lr=0.1, interval=1, warmup=20, **settings)
    influence_set = blobs(90, 2.5, seed + 100)
    learner = PolicyLearner(augnet, FeatureCapture(model, model.head), influence_set, chosen, None, control)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(augnet(images, labels)[0]), labels).backward()
        optimizer.step()
        if learner.due(step):
            learner.update(images, labels)
    return learner
