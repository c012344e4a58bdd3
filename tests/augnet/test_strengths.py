import pytest
import torch
from torchvision.transforms import TrivialAugmentWide

from augnet import TransformSpace
from augnet.classic import CLASSIC_OPS, classic_magnitudes, classic_space
from augnet.strengths import space_table, trivial_augment_table

HEIGHT, WIDTH = 20, 28
_NAMES = {name.replace("_", "").lower(): name for name in CLASSIC_OPS}


def test_trivial_augment_is_torchvisions_list() -> None:
    """Each row is the classic op at the strength that torchvision's policy would give it."""
    table = trivial_augment_table()
    rows = table.rows(HEIGHT, WIDTH)
    theirs = TrivialAugmentWide()._augmentation_space(31)
    assert table.names == tuple(_NAMES[name.lower()] for name in theirs)
    assert rows.shape == (14, 2, 31, len(classic_space()))
    for index, (name, (magnitudes, signed)) in enumerate(theirs.items()):
        levels = magnitudes.float().expand(31)
        if name in ("AutoContrast", "Equalize"):
            levels = torch.ones(31)  # no strength: done in full
        elif name == "Posterize":
            levels = 8 - levels  # bits that are kept
        elif name == "Solarize":
            levels = 1 - levels / 255  # threshold
        elif name.startswith("Translate"):
            levels = levels.int().float()  # as torchvision hands them on
        both = torch.stack([levels, -levels if signed else levels])
        expected = classic_magnitudes(_NAMES[name.lower()], both.flatten(), HEIGHT, WIDTH).unflatten(0, (2, 31))
        # thresholds lie midway between two 8-bit levels, which changes no 8-bit image
        slack = 0.51 / 255 if name == "Solarize" else 1e-6
        torch.testing.assert_close(rows[index], expected, rtol=1e-6, atol=slack)


def test_strengths_of_a_space_go_from_nothing_to_the_bound() -> None:
    space = TransformSpace({"rotation": 30.0, "grayscale": 0.5})
    table = space_table(space, 4)
    rows = table.rows(HEIGHT, WIDTH)
    assert table.names == ("identity", "rotation", "grayscale")
    assert table.units == ("none", "degrees", "share")
    assert not rows[0].any()
    torch.testing.assert_close(rows[1, 0, :, 0], torch.tensor([0.0, 10, 20, 30]))
    assert torch.equal(rows[1, 1], -rows[1, 0])
    torch.testing.assert_close(rows[2, 0, :, 1], torch.tensor([0, 0.5 / 3, 1 / 3, 0.5]))
    assert torch.equal(rows[2, 1], rows[2, 0])  # gray has no negative shares
    assert not rows[1, :, :, 1].any()
    assert not rows[2, :, :, 0].any()


def test_a_table_needs_two_strengths() -> None:
    with pytest.raises(ValueError, match=r"strengths: expected at least 2 \(none and the bound\), found 1"):
        space_table(TransformSpace(["rotation"]), 1)
