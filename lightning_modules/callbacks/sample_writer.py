"""A callback that writes the learned weights and labels of the training images."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from augnet.atomic_file import write_atomically
from lightning_modules.callbacks.learned_augmentation import LearnedAugmentation
from lightning_modules.callbacks.trainer_facts import influence_data
from lightning_modules.learner.sample_weights import SampleWeights

if TYPE_CHECKING:
    from lightning_modules.data.influence_data_module import InfluenceDataModule


class SampleWriter(pl.Callback):
    """Writes `samples.csv` at the end of a run that learned weights or labels: one row a training image.

    Its columns: the row number, where the image comes from, its label, its weight (1 on average) and, if labels were
    learned, the most probable class and the probability of the given one.
    """

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file into the run's folder."""
        augmentation, data = LearnedAugmentation.of(trainer), influence_data(trainer)
        if augmentation is not None and augmentation.samples is not None and data is not None:
            write_atomically(Path(trainer.default_root_dir) / "samples.csv", _table(augmentation.samples, data))


def _table(samples: SampleWeights, data: "InfluenceDataModule") -> str:
    """The rows as text."""
    images = data.training_images
    soft = samples.settings.soft_labels
    columns = ["index", "source", "label", "weight", *(["shows", "probability_of_label"] if soft else [])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    labels = images.labels.to(samples.log_weights.device)
    rows = labels.new_tensor(range(len(labels)))
    probabilities = samples.labels(rows, labels)
    weights, sources = samples.weights().tolist(), images.sources()
    for row, label in enumerate(labels.tolist()):
        values = [row, sources[row], data.class_names[label], f"{weights[row]:.4f}"]
        if soft:
            found = probabilities[row]
            values += [data.class_names[int(found.argmax())], f"{float(found[label]):.4f}"]
        writer.writerow(values)
    return text.getvalue()
