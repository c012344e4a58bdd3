"""Last layers to solve for: synthetic features, a trained head, the gradient of a held-out loss.

Features are the positive part of class means plus Gaussian noise whose spectrum falls like `j^-1/2`, in rows of
log-normally different length; 5 % of the labels are replaced by random ones; the head minimises the mean
cross-entropy with weight decay (100 steps of L-BFGS). Everything follows from the seed. The Hessian product here
is float64 and shares no code with `influence`: it is what every row of the table is measured against.

Axes: N rows, D features, K classes, P = K (D+1) unknowns.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

SIGNAL, SPECTRUM, ROW_LENGTHS, LABEL_NOISE, WEIGHT_DECAY = 0.2, 0.5, 0.3, 0.05, 3e-3
TRAINING_STEPS = 100
DAMPING = 1e-2
MODES = ("absolute", "relative")
TARGET = 1e-3  # relative residual
_CHUNK = 1024  # rows of a float64 product


@dataclass(frozen=True)
class Shape:
    """Sizes of a case."""

    features: int
    classes: int
    rows: int = 4096
    validation: int = 2048
    seed: int = 0

    @property
    def name(self) -> str:
        """`D x K`, and the rows where they are not the usual 4096."""
        return f"D={self.features} K={self.classes}" + ("" if self.rows == 4096 else f" N={self.rows}")

    @property
    def unknowns(self) -> int:
        """Entries of the last layer, bias included."""
        return self.classes * (self.features + 1)


SHAPES = (Shape(128, 10), Shape(512, 10), Shape(640, 100), Shape(2048, 1000))
QUICK = Shape(12, 4, rows=96, validation=64)


@dataclass(frozen=True, eq=False)
class Case:
    """A trained last layer with its training rows and held-out rows; float32."""

    shape: Shape
    features: Tensor  # [N, D]
    labels: Tensor  # [N]
    head: Tensor  # [K, D+1]
    held_out: Tensor  # [M, D]
    held_out_labels: Tensor  # [M]
    mean_eigenvalue: float

    def damping(self, mode: str) -> float:
        """The number added to the diagonal: 1e-2, or 1e-2 of the mean eigenvalue."""
        return DAMPING * (self.mean_eigenvalue if mode == "relative" else 1.0)

    def gradient(self, head: Tensor | None = None) -> Tensor:
        """Gradient of the mean held-out loss at `head`, `[K, D+1]`."""
        head = self.head if head is None else head
        total = torch.zeros_like(head, dtype=torch.float64)
        for rows, probs, part in _chunks(self.held_out, head):
            error = probs - F.one_hot(self.held_out_labels[part], head.shape[0])
            total += error.T @ rows
        return (total / len(self.held_out)).float()

    def product(self, matrix: Tensor, damping: float) -> Tensor:
        """`(H + damping) V` in float64."""
        matrix = matrix.double()
        total = damping * matrix
        for rows, probs, _ in _chunks(self.features, self.head):
            scores = rows @ matrix.T
            weighted = probs * scores
            total += (weighted - probs * weighted.sum(1, keepdim=True)).T @ rows / len(self.features)
        return total

    def residual(self, solution: Tensor, gradient: Tensor, damping: float) -> float:
        """`||(H + damping) S - g|| / ||g||` in float64; infinite if `S` is not finite."""
        error = (self.product(solution, damping) - gradient.double()).norm() / gradient.double().norm()
        return float(error) if bool(torch.isfinite(error)) else float("inf")


def with_bias(features: Tensor) -> Tensor:
    """Append the constant 1."""
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)


def load(shape: Shape, folder: Path) -> Case:
    """Read a case from `folder`, or make it and keep it there."""
    path = folder / ("case-" + "-".join(str(value) for value in asdict(shape).values()) + ".safetensors")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        save_file(_make(shape), unfinished)
        unfinished.replace(path)
    tensors = load_file(path)
    mean_eigenvalue = float(tensors.pop("trace")) / shape.unknowns
    return Case(shape, **tensors, mean_eigenvalue=mean_eigenvalue)


def _make(shape: Shape) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(shape.seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    means = SIGNAL * normal(shape.classes, shape.features)
    spectrum = torch.arange(1, shape.features + 1).float() ** -SPECTRUM
    basis = torch.linalg.qr(normal(shape.features, shape.features))[0]
    mixing = (spectrum / spectrum.square().mean().sqrt())[:, None] * basis

    def draw(rows: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(shape.classes, (rows,), generator=generator)
        features = (means[labels] + normal(rows, shape.features) @ mixing).relu()
        features *= (ROW_LENGTHS * normal(rows, 1)).exp()
        wrong = torch.rand(rows, generator=generator) < LABEL_NOISE
        return features, torch.where(wrong, torch.randint(shape.classes, (rows,), generator=generator), labels)

    features, labels = draw(shape.rows)
    held_out, held_out_labels = draw(shape.validation)
    scale = features.square().mean().sqrt()
    features, held_out = features / scale, held_out / scale
    head = _train(features, labels, shape.classes)
    trace = torch.zeros((), dtype=torch.float64)
    for rows, probs, _ in _chunks(features, head):
        trace += (probs * (1 - probs)).sum(1) @ rows.square().sum(1) / shape.rows
    return {
        "features": features,
        "labels": labels,
        "head": head,
        "held_out": held_out,
        "held_out_labels": held_out_labels,
        "trace": trace,
    }


def _train(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    rows = with_bias(features)
    head = torch.zeros(classes, rows.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=TRAINING_STEPS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(rows @ head.T, labels) + WEIGHT_DECAY / 2 * head[:, :-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return head.detach()


def _chunks(features: Tensor, head: Tensor) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Yield rows with bias and their probabilities, float64, a thousand at a time."""
    for start in range(0, len(features), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows = with_bias(features[part].double())
        yield rows, (rows @ head.double().T).softmax(dim=1), part
