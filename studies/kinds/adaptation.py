"""Kind of study `adaptation`: a trained network is adapted to removed or added images, beside retraining it.

A network is trained on all images and retrained without a random share of them. The first is where removal starts and
what addition should reach; the second is where addition starts and what removal should reach.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from augnet.atomic_file import write_atomically
from studies.commands import CONFIGS, call, read_summary
from studies.engine import Cache, Kind, Result, Setting, TableReport
from studies.kinds.fit import FitRun, checkpoint, run_folder

Method = Literal["none", "retrain", "k_prior", "replay", "fine_tune"]


@dataclass(frozen=True, kw_only=True)
class AdaptationRun(Setting):
    """One way to adapt a network.

    Args:
        data: Data set, see `studies.data_location`.
        change: Whether a share of the images is removed or added.
        share: Of the training images, in (0, 1).
        train_size: Training images.
        options: Further options of `train.py`, of training and adapting.
        epochs: Of training, and of retraining.
        method: `none` leaves the network as it is, `retrain` starts anew; see `train.py adapt` for the others.
        selection: Of the memory.
        memory: Share of the past images that are kept.
        passes: Over the memory and the new images.
        lr: Highest learning rate of adapting.
    """

    data: str
    change: Literal["remove", "add"]
    share: float = 0.1
    train_size: int
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int
    method: Method = "k_prior"
    selection: Literal["weighted", "top", "random"] = "weighted"
    memory: float = 0.1
    passes: int = 4
    lr: float = 0.02

    def run(self, cache: Cache) -> Result:
        """Adapt and test.

        Returns:
            `test` (accuracy in [0, 1]) and `seconds` of adapting.
        """
        if (self.change, self.method) in {("remove", "none"), ("add", "retrain")}:
            result = cache.obtain(self.whole)
        elif (self.change, self.method) == ("add", "none"):
            result = cache.obtain(self.part)
        else:
            return self._adapt(cache)
        return {"test": result["test"], "seconds": 0.0 if self.method == "none" else result["seconds"]}

    @property
    def whole(self) -> FitRun:
        """The training on all images."""
        epochs = {"trainer.max_epochs": self.epochs, "trainer.check_val_every_n_epoch": self.epochs}
        options = {"data.train_size": self.train_size, **self.options, **epochs}
        return FitRun(config="cifar10.yaml", options=options, data=self.data, seed=self.seed)

    @property
    def part(self) -> Setting:
        """The retraining without the share."""
        return AdaptationRun(
            data=self.data,
            change="remove",
            share=self.share,
            train_size=self.train_size,
            options=self.options,
            epochs=self.epochs,
            method="retrain",
            seed=self.seed,
        )

    def _adapt(self, cache: Cache) -> Result:
        start = self.whole if self.change == "remove" else self.part
        cache.obtain(start)
        rows = cache.files(self) / "rows.txt"
        self._write_rows(rows)
        retrain = self.method == "retrain"
        shared = {name: value for name, value in self.whole.all_options().items() if not name.startswith("run.")}
        options = {
            **shared,
            "ckpt_path": checkpoint(cache, start),
            "folder": run_folder(cache, self),
            f"change.{self.change}": rows,
            "method": self.method,
            "selection": self.selection,
            "memory": self.memory,
            "trainer.max_epochs": self.epochs if retrain else self.passes,
            "lr": None if retrain else self.lr,
            "trainer.gradient_clip_val": None if retrain else 1.0,
        }
        call("adapt", CONFIGS / "cifar10.yaml", options)
        summary = read_summary(run_folder(cache, self))
        return {"test": summary["test"], "seconds": summary["seconds"]}

    def _write_rows(self, file: Path) -> None:
        """Write the row numbers of the share, drawn at random."""
        rows = torch.randperm(self.train_size, generator=torch.Generator().manual_seed(self.seed))
        chosen = rows[: round(self.share * self.train_size)].tolist()
        write_atomically(file, "\n".join(map(str, chosen)) + "\n")


KIND = Kind(AdaptationRun, TableReport)
