import re
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from augnet import AugNet, save_policy
from augnet.ops import OPS

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def test_the_page_takes_a_policy_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_policy(AugNet.from_ops(["rotation", "brightness"], initial=0.9), "runs/digits/policy.json")
    section = PAGE.read_text().split("## Take the policy elsewhere")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    result: dict[str, Any] = {}
    exec(code, result)
    images, augmented = result["images"], torch.from_numpy(result["augmented"])
    magnitudes = result["policy"].policy.magnitudes(None, None, torch.from_numpy(result["draws"]["policy_uniform"]))
    expected = result["policy"].space.apply(torch.from_numpy(images), magnitudes)
    torch.testing.assert_close(augmented, expected, rtol=0, atol=1e-5)
    assert result["transform"](PIL.Image.new("L", (8, 8), 128)).shape == (1, 8, 8)


def test_the_table_of_ops_is_that_of_the_program() -> None:
    rows = re.findall(
        r"^\| `(\w+)`( \(RGB\))? \| (.+?) \| (.+?) \| (.+?)( \(straight-through\))? \|$", PAGE.read_text(), re.M
    )
    said = {name: (unit, float(bound), meaning, bool(rgb), bool(st)) for name, rgb, unit, bound, meaning, st in rows}
    expected = {
        op.name: (op.unit, op.bound, op.meaning, op.needs_rgb, op.gradient == "straight-through") for op in OPS.values()
    }
    assert {name: facts for name, facts in said.items() if name in OPS} == expected
    assert list(expected) == [name for name in said if name in OPS]


def test_masks_and_boxes_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_policy(AugNet.from_ops(["rotation", "brightness"], initial=0.9), "runs/digits/policy.json")
    section = PAGE.read_text().split("## In any PyTorch loop")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    result: dict[str, Any] = {}
    exec(code, result)
    assert result["images"].shape == (4, 1, 20, 20)
    assert result["masks"].dtype == torch.bool
    assert result["boxes"].shape == (4, 1, 4)
