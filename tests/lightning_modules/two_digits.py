"""Images with several labels: two handwritten digits of scikit-learn side by side, labelled with the digits shown."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 16  # pixels of the image; each digit has 8 x 8
NAMES = tuple("0123456789")
Labels = set[str]


def two_digits(count: int, rotation: float, seed: int, digits: slice = slice(None)) -> list[tuple[Image.Image, Labels]]:
    """Gray images, each turned by an angle of its own, uniform in +-`rotation` degrees, and the digits they show."""
    data, rng = load_digits(), np.random.default_rng(seed)
    images, targets = data.images[digits], data.target[digits]
    found = []
    for _ in range(count):
        pair = rng.integers(len(images), size=2)
        canvas = np.zeros((SIDE, SIDE))
        canvas[SIDE // 4 : SIDE // 4 + 8] = np.concatenate(images[pair] / 16 * 255, axis=1)
        turned = Image.fromarray(canvas.astype(np.uint8)).rotate(
            rng.uniform(-rotation, rotation), Image.Resampling.BILINEAR
        )
        found.append((turned, {str(digit) for digit in targets[pair]}))
    return found


def write_csv(file: Path, pairs: list[tuple[Image.Image, Labels]], name: str = "path") -> Path:
    """Write images beside a CSV file of their paths and their labels, joined by `|`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, labels) in enumerate(pairs):
        image.save(file.parent / f"{file.stem}_{number}.png")
        rows.append([f"{file.stem}_{number}.png", "|".join(sorted(labels))])
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([[name, "label"], *rows])
    return file


def write_shifted(root: Path, train: int, influence: int, test: int, rotation: float) -> tuple[Path, Path]:
    """Write upright training images, and turned ones for deployment, of other digits; return their folders."""
    write_csv(root / "data" / "train" / "metadata.csv", two_digits(train, 0, 0, slice(0, 1000)))
    write_csv(root / "data" / "validation" / "metadata.csv", two_digits(test, rotation, 1, slice(1000, 1400)))
    write_csv(root / "data" / "test" / "metadata.csv", two_digits(test, rotation, 2, slice(1400, 1797)))
    write_csv(root / "influence" / "metadata.csv", two_digits(influence, rotation, 3, slice(1000, 1400)))
    return root / "data", root / "influence"
