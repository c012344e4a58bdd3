"""Learned augmentation in anybody's LightningModule, with no edit to it: `python examples/own_lightning_module.py`.

The training digits are upright, those of deployment are turned by up to 45 degrees. The eleven lines that matter are in
`main`, between the two comments.
"""

import sys

import pytorch_lightning as pl
import torch
from rotated_digits import accuracy, rotated_digits, small_network
from torch import Tensor, nn
from torch.utils.data import DataLoader

from augfluence import LearnedAugmentation, LearnerSettings


class OwnModule(pl.LightningModule):
    """Any classifier: it knows nothing of augmentation."""

    def __init__(self) -> None:
        super().__init__()
        self.model = small_network()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.model(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def main(epochs: int = 30) -> float:
    """Train with and without; returns the gain in accuracy on turned digits."""
    accuracies = []
    for learned in (False, True):
        pl.seed_everything(0)
        training, influence, test = rotated_digits()
        module = OwnModule()
        callbacks: list[pl.Callback] = []
        # What is added to somebody's training:
        if learned:
            augmentation = LearnedAugmentation(
                ops=["rotation", "translate_x", "translate_y", "scale", "brightness", "contrast"],
                influence=influence,  # a data set; a DataLoader would do as well
                classifier="model",
                learner=LearnerSettings(interval=4),
            )
            callbacks.append(augmentation)
        trainer = pl.Trainer(max_epochs=epochs, callbacks=callbacks, logger=False, enable_checkpointing=False)
        # That is all.
        trainer.fit(module, DataLoader(training, batch_size=64, shuffle=True, drop_last=True))
        accuracies.append(accuracy(module.model, test))
        print(f"{'learned' if learned else 'plain'}: {accuracies[-1]:.1%} of the turned digits are right")
    assert augmentation.learned is not None
    for name, facts in augmentation.learned.describe().items():
        print(f"{name}: +-{facts['half_width']:.3g} {facts['unit']}")
    return accuracies[1] - accuracies[0]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
