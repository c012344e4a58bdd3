"""Summary of an adaptation: `summary.json`, and a line on the terminal."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from augnet.atomic_file import write_atomically
from lightning_modules.adaptation.adapted_classifier import AdaptationSettings, Adapted
from lightning_modules.adaptation.change import Change


@dataclass(frozen=True)
class AdaptationSummary:
    """Results of an adaptation.

    Attributes:
        change: The change; only values that are set.
        method: Method of the adaptation.
        memory: Share of the past images in the memory.
        selection: Their selection.
        images: Number of images that were trained on.
        val_before: Accuracy of the old model on the validation split, in [0, 1].
        val_after: That of the adapted model.
        test: Accuracy of the adapted model on the test split; `None` if it was not read.
        seconds: Time to choose the memory and to train.
    """

    change: dict[str, Any]
    method: str
    memory: float
    selection: str
    images: int
    val_before: float
    val_after: float
    test: float | None
    seconds: float

    @classmethod
    def of(
        cls,
        adapted: Adapted,
        change: Change,
        settings: AdaptationSettings,
        before: float,
        after: float,
        tested: float | None,
    ) -> "AdaptationSummary":
        """Summarize an adaptation with its validation accuracies before and after and its test accuracy."""
        changed = {name: value for name, value in asdict(change).items() if value is not None}
        images, seconds = len(adapted.plan.rows), round(adapted.seconds, 2)
        return cls(
            changed, settings.method, settings.fraction, settings.selection, images, before, after, tested, seconds
        )

    def write(self, path: Path) -> None:
        """Write the summary as JSON.

        Args:
            path: The file.
        """
        write_atomically(path, json.dumps(asdict(self), indent=2) + "\n")

    def show(self, folder: Path) -> None:
        """Print the accuracies and the path of the files.

        Args:
            folder: Folder of the adaptation.
        """
        tested = "" if self.test is None else f", test {100 * self.test:.1f} %"
        console = Console()
        console.print(
            f"{self.method}: validation accuracy {100 * self.val_before:.1f} -> {100 * self.val_after:.1f} %{tested}; "
            f"{self.images} images, {self.seconds:.1f} s",
            soft_wrap=True,
        )
        console.print(f"Files of the adaptation: {folder}", soft_wrap=True)
