"""Kind of study `fit`: runs of `train.py fit` that differ in their options."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studies.commands import CONFIGS, call, read_summary
from studies.data_location import data_path
from studies.engine import Cache, Kind, Result, Setting, TableReport


@dataclass(frozen=True, kw_only=True)
class FitRun(Setting):
    """A run of `train.py fit`.

    Args:
        config: Name of a file in `configs`; its content is not part of the key, raise `version` when it changes.
        options: Further options, such as `model.control`.
        data: Data set for `data.path`, see `studies.data_location`; by default that of the configuration.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    data: str | None = None

    def run(self, cache: Cache) -> Result:
        """Train and test.

        Returns:
            `test` (accuracy in [0, 1], None if the options leave out the test), `ranges` (op -> `half_width` and
            `bound`, as in the summary), `shares` (op -> half_width / bound), `seconds` of training.
        """
        folder = run_folder(cache, self)
        call("fit", CONFIGS / self.config, {**self.all_options(), "run.folder": folder.parent, "run.name": folder.name})
        summary = read_summary(folder) if (folder / "summary.json").is_file() else {}
        ranges = summary.get("ranges", {})
        (accuracy,) = summary.get("test_accuracy", {"": None}).values()
        return {
            "test": accuracy,
            "ranges": ranges,
            "shares": {op: facts["half_width"] / facts["bound"] for op, facts in ranges.items()},
            "seconds": summary.get("seconds"),
        }

    def all_options(self) -> dict[str, Any]:
        """Return the options with seed and data, for any command on the same data."""
        data = {} if self.data is None else {"data.path": data_path(self.data)}
        quiet = {"run.compare": [], "run.wandb": "disabled"}
        return {"seed_everything": self.seed, "data.seed": self.seed, **data, **quiet, **self.options}


def run_folder(cache: Cache, run: Setting) -> Path:
    """Return the folder in which a command of `train.py` has left its files."""
    return cache.files(run) / "run"


def checkpoint(cache: Cache, run: Setting) -> Path:
    """Return the last checkpoint of a run."""
    return run_folder(cache, run) / "checkpoints" / "last.ckpt"


KIND = Kind(FitRun, TableReport)
