"""Changes to a trained classifier and its data, as given to `train.py adapt`.

Axes: N past images, R removed, A added.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_modules.data import InfluenceDataModule, LabelledImages
from lightning_modules.data.labelled_images import join
from lightning_modules.data.rows import ROW_FILES, read_rows
from lightning_modules.learner.checks import require_package


@dataclass(frozen=True, kw_only=True)
class Change:
    """Changes to a trained classifier and its data; at least one is required.

    Args:
        add: Images to add: a folder, parquet files or a hub name, with the classes of the data; or a file (.txt, .csv)
            of rows of the training split that the checkpoint was not trained on.
        remove: Images to forget: a file of rows of the training split, one a line, or a CSV file with a column
            `index`, such as selected rows of `attribution.csv`.
        weight_decay: New weight decay, >= 0.
        policy_file: New augmentation policy: a file that a run has saved.
        model: New network, see `model.model`: the old model is distilled into it.
        model_kwargs: Its further arguments.
    """

    add: str | None = None
    remove: str | None = None
    weight_decay: float | None = None
    policy_file: str | None = None
    model: str | None = None
    model_kwargs: dict[str, Any] | None = None

    def check(self) -> None:
        """Check the changes.

        Raises:
            ValueError: If no change is given, or a value is out of range.
            FileNotFoundError: If there is no such policy file.
        """
        if not self.given().keys() - {"model_kwargs"}:
            raise ValueError(
                "nothing is to change: give change.add, change.remove, change.weight_decay, change.policy_file or "
                "change.model."
            )
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise ValueError(f"change.weight_decay must be at least 0, found {self.weight_decay}.")
        if self.policy_file is not None and not Path(self.policy_file).is_file():
            raise FileNotFoundError(f"change.policy_file: there is no file {self.policy_file}.")
        if self.model_kwargs is not None and self.model is None:
            raise ValueError("change.model_kwargs are those of change.model: give that too.")

    def given(self) -> dict[str, Any]:
        """Return the values that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def hyper_parameters(self) -> dict[str, Any]:
        """Return the changed arguments of the classifier."""
        policy = {} if self.policy_file is None else {"policy_file": self.policy_file, "control": "none"}
        return policy | ({} if self.model is None else {"model": self.model, "model_kwargs": self.model_kwargs})


@dataclass(frozen=True)
class ChangedImages:
    """Past and added images under one index, and the rows that are kept, removed and added.

    Attributes:
        images: All images, first those of the past.
        kept: `[N - R]` int64, rows of past images that are kept.
        removed: `[R]` int64, rows of past images to forget.
        added: `[A]` int64, rows of new images.
    """

    images: LabelledImages
    kept: Tensor
    removed: Tensor
    added: Tensor

    @classmethod
    def of(cls, change: Change, data: InfluenceDataModule) -> "ChangedImages":
        """Read the added images and the row numbers of a change.

        Raises:
            ValueError: If rows or images are invalid, or a row is both added and removed.
        """
        train = data.training_images
        none = torch.zeros(0, dtype=torch.int64)
        images, added = train, none
        if change.add is not None and Path(change.add).suffix in ROW_FILES:
            added = read_rows(change.add, len(train), "change.add")
        elif change.add is not None:
            require_package("datasets", "data", "change.add with a folder")
            from lightning_modules.data.image_splits import open_images  # here, as it needs the extra `data`

            images = join([train, open_images(change.add, data, "change.add")])
            added = torch.arange(len(train), len(images))
        removed = none if change.remove is None else read_rows(change.remove, len(train), "change.remove")
        both = removed[torch.isin(removed, added)]
        if len(both):
            raise ValueError(f"change.add and change.remove share rows, {both[:5].tolist()} first: leave them out.")
        kept = torch.arange(len(train))
        return cls(images, kept[~torch.isin(kept, torch.cat([added, removed]))], removed, added)
