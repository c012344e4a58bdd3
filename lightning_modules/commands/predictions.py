"""The file of `train.py predict`: class probabilities of every image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from augnet.atomic_file import write_atomically


def write_predictions(path: Path, probabilities: Tensor, class_names: Sequence[str]) -> None:
    """Write one row an image to a CSV file: its number in the split, predicted class, probability of each class.

    `probabilities` are `[N, K]`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "predicted", *class_names])
    for number, row in enumerate(probabilities):
        writer.writerow([number, class_names[int(row.argmax())], *(f"{value:.6f}" for value in row.tolist())])
    write_atomically(path, text.getvalue())
