"""Differences between deployment and training. None of them is made by the ops that a policy learns with."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from lightning_modules.data import LabelledImages
from lightning_modules.data.store import MemoryStore, as_bytes
from studies.corruptions import CORRUPTIONS, corrupt

Planted = Callable[[Tensor, Tensor, float], Tensor]  # images [B, C, H, W], u [B, 2] in [-1, 1], largest magnitude


def _rotation(images: Tensor, draws: Tensor, degrees: float) -> Tensor:
    return _each(images, draws, lambda image, u: functional.rotate(image, u[0] * degrees, InterpolationMode.BILINEAR))


def _translation(images: Tensor, draws: Tensor, share: float) -> Tensor:
    def move(image: Tensor, u: list[float]) -> Tensor:
        shift = [share * image.shape[-1] * u[0], share * image.shape[-2] * u[1]]
        moved: Tensor = functional.affine(image, 0.0, shift, 1.0, [0.0, 0.0], InterpolationMode.BILINEAR)
        return moved

    return _each(images, draws, move)


def _contrast(images: Tensor, draws: Tensor, stops: float) -> Tensor:
    return _each(images, draws, lambda image, u: functional.adjust_contrast(image, 2 ** (stops * u[0])))


def _each(images: Tensor, draws: Tensor, change: Callable[[Tensor, list[float]], Tensor]) -> Tensor:
    return torch.stack([change(image, u) for image, u in zip(images, draws.tolist(), strict=True)])


PLANTED: Mapping[str, Planted] = MappingProxyType(
    {"rotation": _rotation, "translation": _translation, "contrast": _contrast}
)
"""Transforms of which every image has its own draw, uniform up to a magnitude in both directions."""


def shifted(
    dataset: LabelledImages,
    seed: int,
    planted: str | None = None,
    magnitude: float = 0.0,
    except_classes: Sequence[int] = (),
    corruptions: Sequence[str] = (),
    severity: int = 3,
) -> LabelledImages:
    """Return the images as deployment shows them, with their labels, in memory as uint8.

    Args:
        dataset: N images and labels.
        seed: Of the draws.
        planted: A key of `PLANTED`.
        magnitude: Its largest magnitude: degrees, a fraction of the side, or stops.
        except_classes: Classes that `planted` spares.
        corruptions: Keys of `studies.corruptions.CORRUPTIONS`, of which each image has one, drawn
            uniformly; `planted` counts as one of them.
        severity: Of the corruptions, 1 to 5.

    Raises:
        ValueError: If there is nothing of that name, or nothing is asked for.
    """
    images, labels = dataset.everything()
    generator = torch.Generator().manual_seed(seed)
    kinds = [*([] if planted is None else [planted]), *corruptions]
    if not kinds:
        raise ValueError(f"deployment: give planted ({', '.join(PLANTED)}) or corruptions ({', '.join(CORRUPTIONS)}).")
    chosen = torch.randint(len(kinds), (len(images),), generator=generator)
    draws = 2 * torch.rand(len(images), 2, generator=generator) - 1
    for number, kind in enumerate(kinds):
        rows = (chosen == number).nonzero()[:, 0]
        if number == 0 and planted is not None:
            rows = rows[~torch.isin(labels[rows], torch.tensor(list(except_classes), dtype=labels.dtype))]
            changed = _plant(kind, images[rows], draws[rows], magnitude) if len(rows) else images[rows]
        else:
            changed = corrupt(images[rows], kind, severity, seed + number) if len(rows) else images[rows]
        images[rows] = changed.to(images)
    return LabelledImages(MemoryStore(as_bytes(images)), labels)


def _plant(name: str, images: Tensor, draws: Tensor, magnitude: float) -> Tensor:
    if name not in PLANTED:
        raise ValueError(f"planted: unknown {name!r}; known are {', '.join(PLANTED)}.")
    return PLANTED[name](images, draws, magnitude)
