"""The tables of ops in docs/policies.md; the code of the page is run in `test_docs`."""

import re
from pathlib import Path

import kornia
import pytest
import torch
import torchvision.transforms.v2.functional as F
from augnet_images import generator
from torch import Tensor

from augnet import TransformSpace
from augnet.ops import OPS
from augnet.ops.spatial import Interpolation

SECTION = (Path(__file__).parents[2] / "docs" / "policies.md").read_text().split("\n## Ops\n")[1].split("\n## ")[0]
ELSEWHERE = re.findall(r"^\| `(\w+)`(, m = 1)? \|(?: `(F\..+)`)? \|(?: `(kornia\..+)`)? \|$", SECTION, re.M)
MAGNITUDES = {"rotation": 33.0, "shear_x": 17.0, "shear_y": -12.0, "posterize": 5, "blur": 0.04}
SIDE = 40
IMAGES = torch.randint(30, 200, (2, 3, SIDE, 48), dtype=torch.uint8, generator=generator())


def test_the_table_of_ops_is_that_of_the_program() -> None:
    rows = re.findall(
        r"^\| `(\w+)`( \(RGB\))? \| (.+?) \| ([\d.]+) \| (.+?)( \(straight-through\))? \|$", SECTION, re.M
    )
    said = {name: (unit, float(bound), meaning, bool(rgb), bool(st)) for name, rgb, unit, bound, meaning, st in rows}
    expected = {
        op.name: (op.unit, op.bound, op.meaning, op.needs_rgb, op.gradient == "straight-through") for op in OPS.values()
    }
    assert said == expected
    assert list(said) == list(expected)


def test_every_row_of_the_table_of_torchvision_and_kornia_is_read() -> None:
    assert len(ELSEWHERE) == len(re.findall(r"^\| .*`(F|kornia)\.", SECTION, re.M)) == 19


@pytest.mark.parametrize(("name", "whole", "torchvision", "of_kornia"), ELSEWHERE, ids=[row[0] for row in ELSEWHERE])
def test_the_code_of_torchvision_and_kornia_has_our_pixels(
    name: str, whole: str, torchvision: str, of_kornia: str
) -> None:
    m = 1 if whole else MAGNITUDES.get(name, 0.3)
    if torchvision:
        theirs = eval(torchvision, {"F": F, "x": IMAGES, "m": m, "side": SIDE})
        compare(theirs.double() / 255, ours(name, m, "nearest"), tolerance=1.2 / 255)
    if of_kornia:
        m_each = torch.full((2,), float(m), dtype=torch.float64)
        names = {"kornia": kornia, "torch": torch, "x": IMAGES.double() / 255, "m": m_each, "side": SIDE}
        compare(eval(of_kornia, names), ours(name, m, "bilinear"), tolerance=1e-4)


def ours(name: str, m: float, interpolation: Interpolation) -> Tensor:
    return TransformSpace([name], interpolation).apply(
        IMAGES.double() / 255, torch.full((2, 1), float(m), dtype=torch.float64)
    )


def compare(theirs: Tensor, ours: Tensor, tolerance: float) -> None:
    """Away from the border, where blur pads; the op has done something."""
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(theirs.expand_as(ours)[inside], ours[inside], rtol=0, atol=tolerance)
    assert (ours - IMAGES / 255)[inside].abs().max() > 0.05
