"""The file of `train.py predict`: class probabilities of every image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from augnet.atomic_file import write_atomically


def write_predictions(path: Path, probabilities: Tensor, class_names: Sequence[str], sources: Sequence[str]) -> None:
    """Write one row an image to a CSV file: number in the split, source, predicted class, probability of each class.

    `probabilities` are `[N, K]`; `sources` are the files of the images, or their rows in the data.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "source", "predicted", *class_names])
    for number, row in enumerate(probabilities):
        predicted = class_names[int(row.argmax())]
        writer.writerow([number, sources[number], predicted, *(f"{value:.6f}" for value in row.tolist())])
    write_atomically(path, text.getvalue())
