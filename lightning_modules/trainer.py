"""The trainer of this project: Lightning's, and `attribute`."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console

from lightning_modules.attribution import Precision, Views, attribute_images
from lightning_modules.attribution_files import print_attribution, write_attribution
from lightning_modules.attribution_table import AttributionTable
from lightning_modules.classifier import Classifier
from lightning_modules.data import InfluenceDataModule


class AugfluenceTrainer(pl.Trainer):
    """Lightning's trainer, which also scores training images. The arguments are those of `pl.Trainer`."""

    def attribute(
        self,
        model: Classifier,
        datamodule: InfluenceDataModule,
        ckpt_path: str | Path | None = None,
        folder: str | Path | None = None,
        top: int = 32,
        views: int = 8,
        mirror: bool = True,
        weights_only: bool | None = None,
    ) -> AttributionTable:
        """Find the training images that harm, that help, and that are probably mislabelled.

        Writes `attribution.csv` (every training image) and the contact sheets `harmful.png`, `helpful.png` and
        `mislabelled.png`. Runs on one device.

        Args:
            model: The classifier.
            datamodule: The data it was trained with.
            ckpt_path: Checkpoint of the trained classifier; by default the weights it has now.
            folder: Where the files go; by default the folder `attribution` of the run that the checkpoint is from.
            top: Images on each contact sheet, at least 1.
            views: Shifted copies of each image that the mislabel score also looks at. More find more wrong labels
                where the network has memorised its training images; each costs one pass over them. 0 for none.
            mirror: Whether half of these copies are mirrored: false for digits, text and all where left is not right.
            weights_only: As in `fit`; set it to false only for checkpoints that you trust.

        Returns:
            The scores.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: If the checkpoint does not fit the model or the data, an argument is out of range, or there
                is more than one device.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}.")
        wanted = Views(views, mirror)
        if self.world_size > 1:
            raise ValueError(f"attribute runs on one device, found {self.world_size}: set trainer.devices to 1.")
        datamodule.setup("attribute")
        run = Path(self.default_root_dir)
        if ckpt_path is not None:
            run = Path(ckpt_path).parent.parent
            _load(model, datamodule.num_classes, Path(ckpt_path), weights_only)
        plugin = self.precision_plugin
        plugin.convert_module(model.to(self.strategy.root_device))
        precision = Precision(plugin.convert_input, plugin.forward_context)
        table = attribute_images(model, datamodule, wanted, precision, self.progress_bar_callback is not None)
        files = write_attribution(table, run / "attribution" if folder is None else Path(folder), top)
        print_attribution(table, top)
        for file in files:
            Console().print(f"Written: {file}", soft_wrap=True)
        return table


def _load(model: Classifier, data_classes: int, path: Path, weights_only: bool | None) -> None:
    """Put the checkpoint's weights into the model; what does not fit is said in the words of the user."""
    if not path.is_file():
        raise FileNotFoundError(f"ckpt_path: there is no checkpoint {path}.")
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=weights_only is not False)
    if "state_dict" not in checkpoint:
        raise ValueError(f"{path} is no checkpoint of a run: expected the weights under 'state_dict'.")
    found = checkpoint.get("hyper_parameters", {}).get("num_classes", model.num_classes)
    if not found == model.num_classes == data_classes:
        raise ValueError(
            f"the checkpoint {path} is of {found} classes, the model of {model.num_classes}, the data have "
            f"{data_classes}: give the data that it was trained with, best by --config of its run."
        )
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    wrong = [name for name in {**expected, **given} if expected.get(name) != given.get(name)]
    if wrong:
        raise ValueError(
            f"the checkpoint {path} does not fit the model: {wrong[0]} is {given.get(wrong[0], 'missing')} there, "
            f"{expected.get(wrong[0], 'missing')} in the model: give the --config of its run."
        )
    model.load_state_dict(checkpoint["state_dict"])
