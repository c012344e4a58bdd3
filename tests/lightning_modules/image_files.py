"""Small image datasets written to disk, and content hashes to compare splits by."""

import hashlib
import io
from pathlib import Path

import datasets
import numpy as np
from PIL import Image
from torch import Tensor

from lightning_modules.data import LabelledImages

CIFAR10 = Path(__file__).parents[2] / ".." / "shared" / "data" / "cifar10"


def random_image(rng: np.random.Generator, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    """Noise of `size` (width, height)."""
    width, height = size
    channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    return Image.fromarray(rng.integers(0, 256, (height, width, *channels), dtype=np.uint8), mode)


def write_image_folder(
    root: Path,
    counts: dict[str, int],
    seed: int = 0,
    mode: str = "RGB",
    size: tuple[int, int] = (8, 8),
) -> Path:
    """Write `root/CLASS/NUMBER.png`, `counts[CLASS]` of each, every one different."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            random_image(rng, mode, size).save(root / name / f"{number}.png")
    return root


def write_parquet(file: Path, labels: list, feature: object, seed: int = 0, **columns: str) -> Path:
    """Write noise images and the labels, under the column names `image` and `label` unless renamed."""
    rng = np.random.default_rng(seed)
    image, label = columns.get("image", "image"), columns.get("label", "label")
    features = datasets.Features({image: datasets.Image(), label: feature})
    images = [random_image(rng) for _ in labels]
    file.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict({image: images, label: labels}, features=features).to_parquet(str(file))
    return file


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def hashes(images: Tensor | LabelledImages) -> list[bytes]:
    """A content hash for each image."""
    pixels = images.everything()[0] if isinstance(images, LabelledImages) else images
    return [hashlib.sha256(image.numpy().tobytes()).digest() for image in pixels]


def disjoint(*splits: LabelledImages | Tensor) -> bool:
    """Whether no image is twice in the splits together."""
    found = [value for split in splits for value in hashes(split)]
    return len(found) == len(set(found))
