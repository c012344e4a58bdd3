"""The code of the documentation: its blocks, and what the pages say that these need."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from augnet import AugNet, save_policy

ROOT = Path(__file__).parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}


@dataclass(frozen=True)
class Block:
    """A block of code with its language and where it stands."""

    language: str
    code: str
    page: str
    line: int

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a shell block as lists of words, without comments."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    text = PAGES[page].read_text()
    found = re.finditer(r"^```(.*)\n((?:.*\n)*?)^```$", text, flags=re.MULTILINE)
    return [Block(match[1].strip(), match[2], page, text[: match.start()].count("\n") + 2) for match in found]


def run_python(block: Block, names: dict[str, Any], replace: dict[str, str]) -> None:
    """Run a block in a namespace, with each text of `replace` that it holds replaced."""
    code = block.code
    for old, new in replace.items():
        code = code.replace(old, new)
    names.setdefault("__name__", str(block))
    exec(compile("\n" * (block.line - 1) + code, block.page, "exec"), names)


# What the pages say is there: the names of `NEEDS[page]()`, and files in the working folder


def saved_policy(path: str) -> None:
    """A policy for gray images."""
    save_policy(AugNet.from_ops(["rotation", "brightness"], initial=0.9), path)


def image_folder(path: str, size: int = 32) -> None:
    """An image folder of noise: two classes in `train` and `test`."""
    rng = np.random.default_rng(len(path))
    for split, count in (("train", 20), ("test", 4)):
        for label in ("cat", "dog"):
            folder = Path(path) / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(folder / f"{number}.png")


class OwnModule(pl.LightningModule):
    """A classifier of gray images without augmentation."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.rand(32, 1, 8, 8), torch.arange(32) % 2), batch_size=8)


def _readme() -> dict[str, Any]:
    return {"images": torch.rand(2, 1, 8, 8), "influence_loader": _loader(), "pl": pl}


def _influence() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(4, 7, generator=generator)
    names: dict[str, Any] = {}
    for prefix, rows in (("", 60), ("held_out_", 30)):
        features = torch.randn(rows, 6, generator=generator)
        labels = torch.randint(4, (rows,), generator=generator)
        logits = features @ head[:, :6].T + head[:, 6]
        names |= {f"{prefix}features": features, f"{prefix}logits": logits, f"{prefix}labels": labels}
    return names


def _own_module() -> dict[str, Any]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    names = {"influence_loader": _loader(), "training_loader": _loader(), "module": OwnModule()}
    return {**names, "model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


def _analysis() -> dict[str, Any]:
    return {
        "policy": AugNet.from_ops(["rotation", "contrast"]),
        "image": torch.rand(3, 8, 8),
        "target": torch.eye(2)[0],
        "network": nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 2)),
        "means": torch.rand(4, 3, 8, 8),
        "factors": 0.1 * torch.randn(4, 5, 3, 8, 8),
        "labels": torch.tensor([0, 1, 0, 1]),
        "cross_entropy": F.cross_entropy,
    }


class FakeRay(ModuleType):
    """Ray, which is not installed: it keeps what would run elsewhere."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.asked: list[str] = []

    def init(self, **_: Any) -> None:
        """Connect to nothing."""

    def remote(self, **_: Any) -> Callable[[Any], Any]:
        """Return a decorator of functions that keep the keys of their settings."""
        return lambda function: SimpleNamespace(remote=lambda setting: self.asked.append(setting.key))

    def get(self, tasks: list[Any]) -> None:
        """Wait for nothing."""


def _studies() -> dict[str, Any]:
    Path("studies").mkdir()
    shutil.copy(ROOT / "studies" / "shift.yaml", "studies")
    sys.modules["ray"] = FakeRay()
    return {}


NEEDS: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": _readme,
    "docs/analysis.md": _analysis,
    "docs/influence.md": _influence,
    "docs/own_module.md": _own_module,
    "docs/studies.md": _studies,
}


def options(command: list[str]) -> Iterator[str]:
    """Names of the options of a command."""
    return (word.split("=")[0] for word in command if word.startswith("--"))


def written(block: Block) -> Path | None:
    """The file that a YAML block says it is, written into the working folder; None if it says none."""
    yaml.safe_load(block.code)
    found = re.match(r"# ([\w./-]+\.yaml)\n", block.code)
    if found is None:
        return None
    path = Path(found[1])
    path.write_text(block.code)
    return path
