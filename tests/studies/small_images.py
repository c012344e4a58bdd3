"""Small images on disk that a small network can tell apart."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(root: Path, count: int = 60) -> Path:
    """Two classes by which half is bright, `count` images of each, with noise."""
    rng = np.random.default_rng(0)
    for label in (0, 1):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 80, (8, 8, 3), dtype=np.uint8)
            pixels[:, 4 * label : 4 * label + 4] += 120
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    return root
