"""The images of a run, before a task changes them."""

from dataclasses import dataclass

from lightning_modules.data import DigitsDataModule, ImageDataModule, InfluenceDataModule
from studies.data_location import data_path

_DIGITS_TEST = 397
_DIGITS_SIDE = 28


@dataclass(frozen=True)
class Data:
    """Data set and sizes of its splits.

    Args:
        path: `digits` for those of scikit-learn, otherwise see `studies.data_location`.
        train_size: Training images, balanced over the classes; digits have what is left.
        influence_size: Images of the influence set.
        val_size: Images that choose between variants, see `ClassifierReport.tuned`.
        test_size: Test images; all that there are by default.
        image_size: Side that images are resized to; by default they keep theirs, digits have 28 pixels.
    """

    path: str = "digits"
    train_size: int | None = None
    influence_size: int = 200
    val_size: int = 200
    test_size: int | None = None
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.path == "digits" and self.train_size is not None:
            raise ValueError("data.train_size: digits train on all that is left, leave it out.")

    def open(self, seed: int) -> InfluenceDataModule:
        """Return the data set as it is.

        Args:
            seed: Of the splits.

        Raises:
            FileNotFoundError: If there is no such data set.
        """
        if self.path == "digits":
            return DigitsDataModule(
                influence_size=self.influence_size,
                val_size=self.val_size,
                test_size=self.test_size or _DIGITS_TEST,
                image_size=self.image_size or _DIGITS_SIDE,
                deployment_rotation=0,
                seed=seed,
            )
        return ImageDataModule(
            data_path(self.path),
            train_size=self.train_size,
            influence_size=self.influence_size,
            val_size=self.val_size,
            test_size=self.test_size,
            image_size=self.image_size,
            seed=seed,
        )
