"""What depends on whether an image has one label or several: the loss, probabilities and metrics of a classifier."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MultilabelAccuracy
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from lightning_modules.learner.checks import check_labels
from lightning_modules.learner.targets import as_classes

MOST_CLASSES = 20  # that are logged one by one in validation
DECISION = 0.5  # an image is said to have a label at a probability above


def loss_for(multilabel: bool, label_smoothing: float = 0.0) -> nn.Module:
    """Return the training loss: cross-entropy, or with several labels binary cross-entropy, the mean over classes.

    Raises:
        ValueError: If labels are to be smoothed and there are several.
    """
    if not multilabel:
        return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    if label_smoothing:
        raise ValueError(
            f"label_smoothing is for one label an image, found {label_smoothing} and data of several: set it to 0."
        )
    return nn.BCEWithLogitsLoss()


class OneLabel(nn.Module):
    """Images of one label: logits `[B, K]` and labels int64 `[B]`, in training also probabilities `[B, K]`.

    The metrics are the accuracy of each stage (`train`, `val`, `test`), and of each class in validation.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.loss = num_classes, loss_for(multilabel=False)  # of evaluation: without smoothing
        self.train_accuracy, self.val_accuracy, self.test_accuracy = (
            MulticlassAccuracy(num_classes, average="micro") for _ in range(3)
        )
        self.val_confusion = MulticlassConfusionMatrix(num_classes) if num_classes <= MOST_CLASSES else None

    def check(self, labels: Tensor) -> None:
        """Raise ValueError unless labels are class numbers `[B]`."""
        if labels.ndim == 2:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}, several for an image: give the classifier multilabel=True."
            )
        check_labels(labels, self.num_classes)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class, `[B, K]`; they add up to 1."""
        return logits.float().softmax(dim=1)

    def update(self, stage: str, logits: Tensor, targets: Tensor) -> dict[str, Metric]:
        """Count a batch; return the metrics of the stage, by their keys."""
        labels, accuracy = as_classes(targets), cast(Metric, getattr(self, f"{stage}_accuracy"))
        accuracy(logits, labels)
        if stage == "val" and self.val_confusion is not None:
            self.val_confusion.update(logits, labels)
        return {f"{stage}/acc": accuracy}

    def compute(self, stage: str, names: Sequence[object]) -> dict[str, float]:
        """Return further values at the end of an evaluation, by their keys, and begin anew."""
        if stage != "val" or self.val_confusion is None:
            return {}
        counts = self.val_confusion.compute()  # [K, K], a row for each true class
        self.val_confusion.reset()
        found = zip(names, counts.diag().tolist(), counts.sum(dim=1).tolist(), strict=True)
        return {f"val/acc/{name}": right / seen for name, right, seen in found if seen}


class SeveralLabels(nn.Module):
    """Images of several labels or none: logits `[B, K]` and labels `[B, K]` of 0 and 1, in training also between them.

    The metrics are the accuracy of each stage, the share of all decisions (image and class) at a probability of 1/2
    that are right, and of `val` and `test` the mean over classes of the average precision.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.loss = num_classes, loss_for(multilabel=True)
        self.train_accuracy, self.val_accuracy, self.test_accuracy = (
            MultilabelAccuracy(num_classes, DECISION, average="micro") for _ in range(3)
        )
        self.val_precision, self.test_precision = ClassPrecision(), ClassPrecision()

    def check(self, labels: Tensor) -> None:
        """Raise ValueError unless labels are `[B, K]` of 0 and 1."""
        if labels.ndim != 2 or labels.shape[1] != self.num_classes or not labels.is_floating_point():
            raise ValueError(
                f"labels must be float32 [B, {self.num_classes}], 1 for each class that an image shows, found "
                f"{labels.dtype} of shape {tuple(labels.shape)} (multilabel is for images of several labels)."
            )
        if not bool(((labels == 0) | (labels == 1)).all()):
            raise ValueError("labels of several classes must be 0 or 1, found other values: mend the data.")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class, `[B, K]`, each on its own."""
        return logits.float().sigmoid()

    def update(self, stage: str, logits: Tensor, targets: Tensor) -> dict[str, Metric]:
        """Count a batch; return the metrics of the stage, by their keys."""
        accuracy = cast(Metric, getattr(self, f"{stage}_accuracy"))
        # probabilities, as torchmetrics takes logits that all lie in [0, 1] for these
        probabilities, labels = self.probabilities(logits.detach()), (targets > DECISION).long()
        accuracy(probabilities, labels)
        if stage != "train":
            cast(ClassPrecision, getattr(self, f"{stage}_precision")).update(probabilities, labels)
        return {f"{stage}/acc": accuracy}

    def compute(self, stage: str, names: Sequence[object]) -> dict[str, float]:
        """Return further values at the end of an evaluation, by their keys, and begin anew."""
        metric = cast(ClassPrecision, getattr(self, f"{stage}_precision"))
        found = {name: value for name, value in zip(names, metric.compute().tolist(), strict=True) if value == value}
        metric.reset()
        mean = {f"{stage}/map": math.fsum(found.values()) / len(found)} if found else {}
        one_by_one = stage == "val" and self.num_classes <= MOST_CLASSES
        return mean | ({f"val/ap/{name}": value for name, value in found.items()} if one_by_one else {})


class ClassPrecision(Metric):
    """Average precision of each class, `[K]`; NaN for one that no image shows, which torchmetrics counts as 0."""

    probabilities: list[Tensor]
    labels: list[Tensor]
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("probabilities", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add images: probabilities and labels `[B, K]`."""
        self.probabilities.append(probabilities)
        self.labels.append(labels)

    def compute(self) -> Tensor:
        """Return the average precision of each class over all images."""
        columns = zip(dim_zero_cat(self.probabilities).T, dim_zero_cat(self.labels).T, strict=True)
        absent = torch.tensor(math.nan)
        return torch.stack([binary_average_precision(*one).cpu() if one[1].any() else absent for one in columns])
