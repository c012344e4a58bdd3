"""The file of `train.py predict`: class probabilities of every image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from augnet.atomic_file import write_atomically


def write_predictions(path: Path, probabilities: Tensor, class_names: Sequence[str]) -> None:
    """Write one row an image, in the order of the split: number, predicted class, probability of each class.

    Args:
        path: The CSV file.
        probabilities: `[N, K]`.
        class_names: Names of the K classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "predicted", *class_names])
    for number, row in enumerate(probabilities.tolist()):
        best = max(range(len(row)), key=row.__getitem__)
        writer.writerow([number, class_names[best], *(f"{value:.6f}" for value in row)])
    write_atomically(path, text.getvalue())
