"""docs/analysis.md: its code runs, its numbers are those that were measured."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from augnet import AugNet
from benchmarks.moments import page

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "analysis.md").read_text()
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "moments_cifar10.json").read_text())


def test_the_code_of_the_page_runs_and_its_loss_carries_gradient() -> None:
    section = PAGE.split("## Moments")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 2))
    given: dict[str, Any] = {
        "policy": AugNet.from_ops(["rotation", "contrast"]),
        "image": torch.rand(3, 8, 8),
        "target": torch.eye(2)[0],
        "network": network,
        "means": torch.rand(4, 3, 8, 8),
        "factors": 0.1 * torch.randn(4, 5, 3, 8, 8),
        "labels": torch.tensor([0, 1, 0, 1]),
        "cross_entropy": F.cross_entropy,
    }
    exec(code, given)
    assert given["moments"].factor.shape == (16, 3, 8, 8)
    given["loss"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["flip_crop", "horizontal_flip", "rand_augment", "trivial_augment", "learned"])
def test_the_numbers_of_the_page_are_those_of_the_benchmark(name: str) -> None:
    row = next(row for row in MEASURED["result"]["augmentations"] if row["augmentation"] == name)
    counts = [*(row["samples"]["loss"][part] for part in ("median", "low", "high"))]
    counts += [row["samples"][kind]["median"] for kind in ("image", "covariance")]
    one, low, high, image, covariance = (f"{float(f'{count:.3g}'):,.0f}" for count in counts)
    assert f"| {one} ({low}-{high}) | {image} | {covariance} |" in PAGE


def test_the_page_of_the_benchmark_is_made_from_its_json() -> None:
    written = (ROOT / "benchmarks" / "results" / "moments_cifar10.md").read_text()
    assert written.startswith(page(MEASURED))
