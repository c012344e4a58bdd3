"""A kind of study without a network: a run returns a number that follows from its fields."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from studies.engine import Cache, Kind, Page, Report, Result, Results, Setting, Study, by_arm


@dataclass(frozen=True, kw_only=True)
class Toy(Setting):
    """Adds its offset and its seed; may wait, be killed, fail, or ask for another run."""

    offset: float = 0.0
    scale: dict[str, float]
    log: str = ""
    seconds: float = 0.0
    fails: bool = False
    asks: bool = False

    def run(self, cache: Cache) -> Result:
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{self.key} {os.getpid()}\n")
        (cache.files(self) / "half").write_text("half a run")
        time.sleep(self.seconds)
        if self.fails:
            raise ValueError("lost")
        other = (
            cache.obtain(Toy(offset=100.0, scale=self.scale, seed=self.seed, log=self.log))["test"] if self.asks else 0
        )
        return {"test": self.scale["factor"] * (self.offset + self.seed) + other}


@dataclass(frozen=True)
class ToyReport(Report):
    """One line an arm."""

    rival: str = ""

    def check(self, study: Study) -> None:
        if self.rival and self.rival not in study.arms:
            raise ValueError(f"rival: there is no arm {self.rival!r}.")

    def page(self, study: Study, results: Results) -> Page:
        lines = [
            f"{task}, {arm}: {[run['test'] for run in runs.values()]}"
            for task in study.tasks
            for arm, runs in by_arm(study, results, task).items()
        ]
        return Page(lines, {"": Figure(), "curves": Figure()}, {"lines": len(lines)})


KIND = Kind(Toy, ToyReport)
