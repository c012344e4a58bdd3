"""Learned augmentation in Hugging Face's Trainer: `python examples/huggingface_trainer.py`, a minute on one core.

`AugmentingTrainer` is what is added.
"""

import sys
import tempfile
from typing import Any, cast

import torch
from rotated_digits import accuracy, rotated_digits
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from augfluence import Augmenter, LearnerSettings

OPS = {"rotation": 90, "translate_x": 0.2, "scale": 0.7, "brightness": 0.3}
QUIET: Any = {"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}


class AugmentingTrainer(Trainer):
    """A Trainer with an augmenter; `None` trains plainly."""

    augmenter: Augmenter | None = None

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any) -> Tensor:
        """Augment the batch, and let the policy learn from the batch as it was."""
        if self.augmenter is None:
            return cast(Tensor, super().training_step(model, inputs, *args))
        inputs = self._prepare_inputs(inputs)
        images, labels = inputs["pixel_values"], inputs["labels"]
        loss: Tensor = super().training_step(model, {**inputs, "pixel_values": self.augmenter(images, labels)}, *args)
        if self.accelerator.sync_gradients:  # the optimizer steps after this batch
            self.augmenter.step(images, labels)
        return loss


class Digits(Dataset[dict[str, Tensor]]):
    """A data set as Hugging Face's models take it."""

    def __init__(self, pairs: TensorDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, label = self.pairs[index]
        return {"pixel_values": image, "labels": label}


def train(epochs: int, learned: bool) -> tuple[float, Augmenter | None]:
    """Train a tiny vision transformer, plain or with learned augmentation; return its accuracy on turned digits."""
    training, influence, test = rotated_digits()
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=4, num_channels=1, num_labels=10))
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=64,
            learning_rate=2e-3,
            dataloader_drop_last=True,
            use_cpu=True,
            **QUIET,
        )
        trainer = AugmentingTrainer(model, settings, train_dataset=Digits(training))
        if learned:  # after the Trainer has put the model on its device
            trainer.augmenter = Augmenter(model, Digits(influence), OPS, learner=LearnerSettings(interval=4))
        trainer.train()
    return accuracy(model.cpu(), test), trainer.augmenter


def main(epochs: int = 60) -> tuple[float, float]:
    """Train without and with learned augmentation; return both accuracies."""
    plain, _ = train(epochs, learned=False)
    learned, augmenter = train(epochs, learned=True)
    print(f"plain: {plain:.1%} of the turned digits are right, learned: {learned:.1%}")
    assert augmenter is not None and augmenter.policy is not None  # noqa: PT018
    for name, facts in augmenter.policy.describe().items():
        print(f"{name}: +-{facts['half_width']:.3g} {facts['unit']}")
    return plain, learned


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
