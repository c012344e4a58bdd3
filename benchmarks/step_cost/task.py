"""Settings of one process."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from lightning_modules.learner.settings import LearnerSettings

LEAD_IN = 8  # steps of a block that are not counted: caches are cold, and loaders have worked ahead
LEARNING = ("learned", "flip_crop+learned", "learned_mixture", "callback")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Settings of one row of a table.

    Attributes:
        group: Rows that are measured in turn and compared.
        arm: How it is augmented, a key of `ARMS`.
        model: A key of `MODELS`.
        rounds: Blocks.
        steps: Training steps of a block, at least; see `block_steps`.
        batch: Images of a step.
        threads: CPU threads of torch.
        classes: K.
        features: D, by a further layer of this width; 0 leaves the network as it is.
        influence: Images of the influence set.
        interval: Steps from one policy update to the next.
        precision: Of `Trainer`.
    """

    group: str
    arm: str
    model: str
    rounds: int
    steps: int
    batch: int = 128
    threads: int = 2
    classes: int = 10
    features: int = 0
    influence: int = 400
    interval: int = LearnerSettings.interval
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"

    @property
    def learner(self) -> LearnerSettings:
        """The defaults but for the interval; updates begin at once, and the cost is that of every later one."""
        return replace(LearnerSettings(), interval=self.interval, warmup=0)

    @property
    def block_steps(self) -> int:
        """Steps of a block: whole cycles of updates, so that each holds as many, and as many solves."""
        cycle = self.interval * self.learner.refresh if self.arm in LEARNING else 1
        return cycle * ceil(self.steps / cycle)

    @property
    def warm_up(self) -> int:
        """Steps before the first block; of the learned arms until the feature bank is full."""
        if self.arm not in LEARNING:
            return 2 * LEAD_IN
        return self.interval * (1 + ceil(self.learner.hessian_rows / self.batch))

    @property
    def total_steps(self) -> int:
        """Steps of the training; the last is there to see the end of the one before."""
        return self.warm_up + self.rounds * (LEAD_IN + self.block_steps) + 1
