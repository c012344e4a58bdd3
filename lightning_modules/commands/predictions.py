"""The file of `train.py predict`: class probabilities of every image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from augnet.atomic_file import write_atomically
from lightning_modules.classifier.label_kinds import DECISION


def write_predictions(
    path: Path, probabilities: Tensor, class_names: Sequence[str], sources: Sequence[str], multilabel: bool = False
) -> None:
    """Write one row an image to a CSV file: number in the split, source, predicted class, probability of each class.

    `probabilities` are `[N, K]`; `sources` are the files of the images, or their rows in the data. With several labels
    an image the predicted classes are those of a probability above 1/2, joined by `|`; the field is empty for none.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "source", "predicted", *class_names])
    for number, row in enumerate(probabilities):
        found = (row > DECISION).nonzero()[:, 0].tolist() if multilabel else [int(row.argmax())]
        predicted = "|".join(class_names[label] for label in found)
        writer.writerow([number, sources[number], predicted, *(f"{value:.6f}" for value in row.tolist())])
    write_atomically(path, text.getvalue())
