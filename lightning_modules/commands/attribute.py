"""The command `train.py attribute`: score the training images of a run, and write the rankings."""

from pathlib import Path

import pytorch_lightning as pl
from rich.console import Console

from lightning_modules.attribution.score_table import AttributionTable
from lightning_modules.attribution.scoring import Precision, ShiftedCopies, attribute_images
from lightning_modules.attribution.written_scores import print_attribution, write_attribution
from lightning_modules.classifier.checkpoint import load_checkpoint
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule


def run_attribute(
    trainer: pl.Trainer,
    model: Classifier,
    data: InfluenceDataModule,
    ckpt_path: str | Path | None,
    folder: str | Path | None,
    top: int,
    copies: ShiftedCopies,
    weights_only: bool | None,
) -> AttributionTable:
    """Score the training images and write the files; arguments as those of `AugfluenceTrainer.attribute`."""
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}.")
    if trainer.world_size > 1:
        raise ValueError(f"attribute runs on one device, found {trainer.world_size}: set trainer.devices to 1.")
    data.setup("attribute")
    run = Path(trainer.default_root_dir)
    if ckpt_path is not None:
        run = Path(ckpt_path).parent.parent
        load_checkpoint(model, data.num_classes, Path(ckpt_path), weights_only)
    plugin = trainer.precision_plugin
    plugin.convert_module(model.to(trainer.strategy.root_device))
    precision = Precision(plugin.convert_input, plugin.forward_context)
    table = attribute_images(model, data, copies, precision, trainer.progress_bar_callback is not None)
    files = write_attribution(table, run / "attribution" if folder is None else Path(folder), top)
    print_attribution(table, top)
    for file in files:
        Console().print(f"Written: {file}", soft_wrap=True)
    return table
