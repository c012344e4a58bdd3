"""Sizes of images, splits, batches and runs, chosen from the facts of a folder."""

from dataclasses import dataclass
from statistics import median

from lightning_modules.commands.creation.commented_yaml import Setting
from lightning_modules.data.folder_facts import FolderFacts

_SIDES = (16, 24, 28, 32, 48, 64, 96, 128)
_BATCHES = {128: 10_000, 64: 640, 32: 320, 16: 160, 8: 80}  # batch size: training images from which it is taken


@dataclass(frozen=True)
class Sizes:
    """Images of each split, and what follows from them.

    Args:
        influence: `data.influence_size`.
        validation: `data.val_size`.
        train: Images that are left for training.
        batch: Images a batch.
        epochs: Passes over the training images.
    """

    influence: int
    validation: int
    train: int
    batch: int
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        """Training steps of an epoch."""
        return max(1, self.train // self.batch)

    @property
    def steps(self) -> int:
        """Training steps of the run."""
        return self.steps_per_epoch * self.epochs


def imbalance(counts: dict[str, int]) -> float:
    """Return the ratio of the largest class to the smallest."""
    return max(counts.values()) / max(1, min(counts.values()))


def choose_sizes(facts: FolderFacts, pretrained: bool) -> Sizes:
    """Choose the sizes of the splits, the batch and the run; a pretrained network needs fewer steps."""
    count, classes = sum(facts.counts.values()), len(facts.counts)
    influence = max(classes, min(max(200, 20 * classes), count // 10))
    cut_influence = 0 if facts.influence else influence
    if facts.influence:
        influence = max(classes, min(sum(facts.influence.counts.values()), 2000))
    validation = max(classes, min(1000, facts.splits.get("validation", count // 10)))
    cut_validation = 0 if "validation" in facts.splits else validation
    cut_test = 0 if "test" in facts.splits else max(1, count // 5)
    train = max(1, count - cut_influence - cut_validation - cut_test)
    batch = next((size for size, least in _BATCHES.items() if train >= least), 4)
    wanted, fewest, most = (600, 10, 60) if pretrained else (1500, 30, 100)
    epochs = min(most, max(fewest, round(wanted / max(1, train // batch))))
    return Sizes(influence, validation, train, batch, epochs)


def choose_side(facts: FolderFacts) -> Setting:
    """Choose the side that the images are resized to, in pixels; None keeps small images of one oblong size."""
    sizes, shorter = set(facts.probe.sizes), [min(size) for size in facts.probe.sizes]
    width, height = facts.probe.sizes[0]
    if len(sizes) == 1 and max(width, height) <= _SIDES[-1]:
        if width == height:
            return Setting(width, f"pixels: all images that were opened are {width} x {width}")
        return Setting(None, f"all images that were opened are {width} x {height} and stay so; a number makes squares")
    middle = int(median(shorter))
    side = max((known for known in _SIDES if known <= middle), default=middle)
    more = "; 224 shows more and takes three times as long" if middle >= 224 and side == _SIDES[-1] else ""
    return Setting(
        side, f"pixels: shorter sides are {min(shorter)} to {max(shorter)}; scaled, then center-cropped{more}"
    )


def side_in_pixels(facts: FolderFacts) -> int:
    """Return the shorter side of the images that a network gets."""
    return choose_side(facts).value or min(facts.probe.sizes[0])
