import re
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from augnet import AugNet, save_policy

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_takes_a_policy_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_policy(AugNet.from_ops(["rotation", "brightness"], initial=0.9), "runs/digits/policy.json")
    section = README.read_text().split("## Take the policy elsewhere")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    result: dict[str, Any] = {}
    exec(code, result)
    images, augmented = result["images"], torch.from_numpy(result["augmented"])
    magnitudes = result["policy"].policy.magnitudes(None, None, torch.from_numpy(result["draws"]["policy_uniform"]))
    expected = result["policy"].space.apply(torch.from_numpy(images), magnitudes)
    torch.testing.assert_close(augmented, expected, rtol=0, atol=1e-5)
    assert result["transform"](PIL.Image.new("L", (8, 8), 128)).shape == (1, 8, 8)
