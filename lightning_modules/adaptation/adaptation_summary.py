"""Summary of an adaptation: `summary.json`, and a line on the terminal."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from augnet.atomic_file import write_atomically


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

    def save(self, folder: Path) -> None:
        """Write `summary.json` into the folder of the adaptation, and print the accuracies and the folder."""
        write_atomically(folder / "summary.json", json.dumps(asdict(self), indent=2) + "\n")
        tested = "" if self.test is None else f", test {100 * self.test:.1f} %"
        console = Console()
        console.print(
            f"{self.method}: validation accuracy {100 * self.val_before:.1f} -> {100 * self.val_after:.1f} %{tested}; "
            f"{self.images} images, {self.seconds:.1f} s",
            soft_wrap=True,
        )
        console.print(f"Files of the adaptation: {folder}", soft_wrap=True)
