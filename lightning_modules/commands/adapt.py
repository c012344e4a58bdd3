"""The command `train.py adapt`: adapt a trained classifier to a change, and write its checkpoint and summary."""

from pathlib import Path

import pytorch_lightning as pl

from lightning_modules.adaptation.adaptation_summary import AdaptationSummary
from lightning_modules.adaptation.adapted_classifier import AdaptationSettings, adapt_classifier
from lightning_modules.adaptation.change import Change
from lightning_modules.classifier.checkpoint import load_checkpoint
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule
from lightning_modules.monitoring.run_files import next_free_folder


def run_adapt(
    trainer: pl.Trainer,
    model: Classifier,
    data: InfluenceDataModule,
    ckpt_path: str | Path,
    change: Change,
    settings: AdaptationSettings,
    folder: str | Path | None,
    test: bool,
    weights_only: bool | None,
) -> AdaptationSummary:
    """Adapt the classifier and write the files; arguments as those of `AugfluenceTrainer.adapt`."""
    if trainer.world_size > 1:
        raise ValueError(f"adapt runs on one device, found {trainer.world_size}: set trainer.devices to 1.")
    change.check()
    data.setup("adapt")
    checkpoint = load_checkpoint(model, data.num_classes, Path(ckpt_path), weights_only)
    before = trainer.validate(model, datamodule=data, verbose=False)[0]["val/acc"]
    adapted = adapt_classifier(trainer, model, data, checkpoint, change, settings)
    after = trainer.validate(adapted.student, datamodule=data, verbose=False)[0]["val/acc"]
    tested = trainer.test(adapted.student, datamodule=data, verbose=False)[0]["test/acc"] if test else None
    target = next_free_folder(Path(ckpt_path).parent.parent / "adapted" if folder is None else Path(folder))
    trainer.save_checkpoint(target / "checkpoints" / "last.ckpt")
    summary = AdaptationSummary.of(adapted, change, settings, before, after, tested)
    summary.write(target / "summary.json")
    summary.show(target)
    return summary
