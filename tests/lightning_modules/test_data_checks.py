import re

import pytest
import torch
from torch import Tensor

from lightning_modules.data import validate_images
from lightning_modules.learner.checks import require_at_least


def test_images_in_range_pass() -> None:
    validate_images(torch.rand(2, 3, 4, 5))
    validate_images(torch.tensor([0.0, 1.0, 1.0 + 1e-6, -1e-6]).reshape(1, 1, 2, 2))
    validate_images(torch.rand(2, 1, 4, 4, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 4, 4), "4 axes [B, C, H, W], got shape (3, 4, 4)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "got torch.uint8: convert with images.float() / 255"),
        (torch.zeros(0, 3, 4, 4), "images is empty, got shape (0, 3, 4, 4)"),
        (torch.full((1, 1, 2, 2), float("nan")), "NaN or infinite"),
        (torch.full((1, 1, 2, 2), float("inf")), "NaN or infinite"),
        (torch.full((1, 1, 2, 2), 255.0), "from 255 to 255: divide 8-bit images by 255"),
        (torch.full((1, 1, 2, 2), -1.5), "from -1.5 to -1.5: negative values come from normalization"),
    ],
)
def test_images_outside_the_contract(images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        validate_images(images)


def test_require_at_least() -> None:
    require_at_least(1, batch_size=1, train_size=None)
    with pytest.raises(ValueError, match="val_size must be at least 1, got 0"):
        require_at_least(1, batch_size=1, val_size=0)
