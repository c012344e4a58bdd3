"""Tiny last layers in float64, and naive references by automatic differentiation."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from influence import LastLayerHessian, append_bias


@dataclass(frozen=True)
class Case:
    """A last layer at an arbitrary point, with everything that enters its loss."""

    features: Tensor  # [N, D]
    head: Tensor  # [K, D+1]
    targets: Tensor
    weights: Tensor | None
    decay: Tensor  # [D+1]

    @property
    def logits(self) -> Tensor:
        return append_bias(self.features) @ self.head.T

    def hessian(self, **options: Any) -> LastLayerHessian:
        defaults: dict[str, Any] = {"damping": 0.0, "weight_decay": self.decay, "sample_weights": self.weights}
        return LastLayerHessian(self.features, self.logits, **(defaults | options))

    def loss(self, head: Tensor) -> Tensor:
        """Weighted mean cross-entropy plus decay, as a plain function of the head."""
        losses = F.cross_entropy(append_bias(self.features) @ head.T, self.targets, reduction="none")
        mean = losses.mean() if self.weights is None else (losses * self.weights).sum() / self.weights.sum()
        return mean + (head.square() * self.decay).sum() / 2


def case(
    rows: int = 24,
    features: int = 4,
    classes: int = 3,
    soft: bool = False,
    weighted: bool = False,
    decay: str = "none",
    seed: int = 0,
) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = torch.randint(classes, (rows,), generator=generator)
    per_column = {
        "none": torch.zeros(features + 1),
        "weights": torch.cat([torch.full((features,), 0.05), torch.zeros(1)]),
        "columns": torch.linspace(0.01, 0.2, features + 1),
    }
    return Case(
        features=normal(rows, features) + 0.3,
        head=0.7 * normal(classes, features + 1),
        targets=(2 * normal(rows, classes)).softmax(dim=1) if soft else labels,
        weights=torch.rand(rows, generator=generator, dtype=torch.float64) * 3 if weighted else None,
        decay=per_column[decay].double(),
    )


CASES: dict[str, dict[str, Any]] = {
    "hard": {},
    "soft": {"soft": True},
    "weighted": {"weighted": True},
    "decayed": {"decay": "weights"},
    "decayed by column": {"decay": "columns", "weighted": True},
    "two classes": {"classes": 2, "soft": True, "decay": "weights"},
    "fewer rows than features": {"rows": 3, "features": 6},
    "one row": {"rows": 1},
}


def clusters(rows: int, seed: int, classes: int = 3, features: int = 6, spread: float = 1.3) -> tuple[Tensor, Tensor]:
    """Gaussian classes around centers that are the same for every seed."""
    centers = torch.randn(classes, features, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    noise = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    return centers[labels] + spread * noise, labels


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    """Relative to the largest entry: entries near zero come from cancellation."""
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * max(scale, 1e-300))
