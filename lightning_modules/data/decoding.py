"""Decoding of image files to uint8 tensors `[C, H, W]` of a common shape; `where` names their table in errors."""

from dataclasses import dataclass

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torchvision.transforms.v2 import functional

_PROBES = 64
_GRAY_MODES = frozenset({"1", "L", "LA"})
_ALPHA_MODES = frozenset({"LA", "PA", "RGBA", "RGBa", "La"})
_DECODER = datasets.Image()


@dataclass(frozen=True)
class ImageFormat:
    """The shape of all images of a data module.

    Args:
        channels: 1 for gray, 3 for RGB.
        height: Rows, in pixels.
        width: Columns, in pixels.
        resize: True to resize and crop images of another size, False to raise on them.
    """

    channels: int
    height: int
    width: int
    resize: bool

    @property
    def num_bytes(self) -> int:
        """Memory of one decoded image, in bytes."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Probe:
    """Facts of a sample of images.

    Args:
        channels: 1 if all are gray, otherwise 3.
        sizes: Width and height of each, in pixels.
    """

    channels: int
    sizes: tuple[tuple[int, int], ...]


def probe_rows(count: int) -> NDArray[np.int64]:
    """Return up to 64 row numbers that are spread evenly over a table of `count` rows."""
    return np.unique(np.linspace(0, count - 1, min(_PROBES, count)).astype(np.int64))


def probe_images(rows: datasets.Dataset, where: str) -> Probe:
    """Open a sample of the images of a table whose column `image` holds them undecoded.

    Raises:
        ValueError: When an image cannot be read.
    """
    images = [_open(record, where) for record in rows[probe_rows(len(rows))]["image"]]
    return Probe(1 if all(image.mode == "L" for image in images) else 3, tuple(image.size for image in images))


def probe_format(rows: datasets.Dataset, image_size: int | None, where: str) -> ImageFormat:
    """Determine the common format from a sample of the images.

    The format is gray if all probed images are gray, otherwise RGB.

    Args:
        rows: Table whose column `image` holds undecoded images.
        image_size: Side of the square images are resized to, in pixels; `None` keeps their own size.
        where: Name of the table.

    Raises:
        ValueError: When `image_size` is `None` and the images differ in size.
    """
    probe = probe_images(rows, where)
    if image_size is not None:
        return ImageFormat(probe.channels, image_size, image_size, resize=True)
    sizes = sorted(set(probe.sizes))
    if len(sizes) > 1:
        raise ValueError(_sizes_differ(where, sizes[0], sizes[-1]))
    width, height = sizes[0]
    return ImageFormat(probe.channels, height, width, resize=False)


def decode(record: dict, image_format: ImageFormat, where: str) -> Tensor:
    """Decode an image, a record `{"bytes": ..., "path": ...}`, and convert it to the format: uint8 `[C, H, W]`.

    A resized image keeps its aspect: its shorter side is scaled to the size (bilinear, antialiased)
    and the center is cropped.

    Raises:
        ValueError: When the image cannot be read, or has another size and is not to be resized.
    """
    image, mode = _open(record, where), "L" if image_format.channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    size = [image_format.height, image_format.width]
    if image.size != (image_format.width, image_format.height):
        if not image_format.resize:
            raise ValueError(_sizes_differ(where, (image_format.width, image_format.height), image.size))
        image = functional.center_crop(functional.resize(image, [min(size)], antialias=True), size)
    return torch.from_numpy(np.array(image)).reshape(*size, image_format.channels).permute(2, 0, 1)


def _open(record: dict, where: str) -> Image.Image:
    """Open the first frame of an 8-bit image as L or RGB: upright by its EXIF orientation, on white if transparent."""
    try:
        image: Image.Image = _DECODER.decode_example(record)
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        name = record.get("path") if record else record
        raise ValueError(f"cannot read image {name} of {where} ({error}): mend or remove it.") from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"image {record['path']} of {where} has mode {image.mode!r}, more than 8 bits a channel: "
            "convert the images to 8 bits, choosing the range of values yourself."
        )
    if getattr(image, "n_frames", 1) > 1:
        rank_zero_warn(f"images of {where} have several frames or pages: the first one of each is read.")
    mode = "L" if image.mode in _GRAY_MODES else "RGB"
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image if image.mode == mode else image.convert(mode)


def _sizes_differ(where: str, one: tuple[int, int], other: tuple[int, int]) -> str:
    """Return the error message for images of several sizes."""
    return (
        f"the images of {where} differ in size (width x height: {one[0]} x {one[1]} and "
        f"{other[0]} x {other[1]}): set image_size to resize them all."
    )
