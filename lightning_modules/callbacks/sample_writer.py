"""Writes what a run has learned about its training images."""

import csv
import io
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from augnet.atomic_file import write_atomically
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.data import InfluenceDataModule


class SampleWriter(pl.Callback):
    """Writes `samples.csv` at the end of a run that learned weights or labels: one row a training image.

    Its columns: the row number, where the image comes from, its label, its weight (1 on average) and, if labels were
    learned, the most probable class and the probability of the given one.
    """

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file into the run's folder."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, AugmentedClassifier) or pl_module.samples is None:
            return
        if isinstance(data, InfluenceDataModule):
            path = Path(trainer.default_root_dir) / "samples.csv"
            write_atomically(path, _table(pl_module, data))


def _table(module: AugmentedClassifier, data: InfluenceDataModule) -> str:
    """The rows as text."""
    if module.samples is None:
        raise ValueError("nothing was learned about the training images: set model.samples.")
    images = data.training_images
    soft = module.samples.settings.soft_labels
    columns = ["index", "source", "label", "weight", *(["shows", "probability_of_label"] if soft else [])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    labels = images.labels.to(module.samples.log_weights.device)
    rows = labels.new_tensor(range(len(labels)))
    probabilities = module.samples.labels(rows, labels)
    weights, sources = module.samples.weights().tolist(), images.sources()
    for row, label in enumerate(labels.tolist()):
        values = [row, sources[row], data.class_names[label], f"{weights[row]:.4f}"]
        if soft:
            found = probabilities[row]
            values += [data.class_names[int(found.argmax())], f"{float(found[label]):.4f}"]
        writer.writerow(values)
    return text.getvalue()
