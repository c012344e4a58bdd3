"""Learned augmentation with Lightning Fabric: `python examples/fabric_loop.py`, half a minute on one core.

`--devices 2` divides each batch between two processes; both learn the same policy.
"""

import argparse
from typing import Any

import torch
from lightning_fabric import Fabric
from rotated_digits import accuracy, rotated_digits, small_network
from torch import nn
from torch.utils.data import DataLoader

from augfluence import Augmenter, LearnerSettings

OPS = {"rotation": 90, "translate_x": 0.2, "scale": 0.7, "brightness": 0.3}
CHECKPOINT = "fabric.ckpt"


def train(fabric: Fabric, epochs: int, learned: bool) -> tuple[float, Augmenter]:
    """Train a classifier, plain or with learned augmentation; return its accuracy on turned digits."""
    fabric.seed_everything(0, verbose=False)
    training, influence, test = rotated_digits()
    network = small_network()
    model, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), lr=5e-3))
    loader = DataLoader(training, batch_size=64 // fabric.world_size, shuffle=True, drop_last=True)
    batches = fabric.setup_dataloaders(loader)
    augmenter = Augmenter(
        model,
        influence,
        OPS,
        learner=LearnerSettings(interval=4),
        control="none" if learned else "plain",
        forward_context=fabric.autocast,
    )
    for _ in range(epochs):
        for images, labels in batches:
            loss = nn.functional.cross_entropy(model(augmenter(images)), labels)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            augmenter.step(images, labels)
    fabric.save(CHECKPOINT, {"model": model, "optimizer": optimizer, "augmenter": augmenter})
    return accuracy(network.cpu(), test), augmenter


def main(epochs: int = 30, devices: int = 1, precision: Any = "32-true") -> tuple[float, float]:
    """Train without and with learned augmentation; return both accuracies."""
    fabric = Fabric(accelerator="cpu", devices=devices, precision=precision)
    fabric.launch()
    plain, _ = train(fabric, epochs, learned=False)
    learned, augmenter = train(fabric, epochs, learned=True)
    fabric.print(f"plain: {plain:.1%} of the turned digits are right, learned: {learned:.1%}")
    assert augmenter.policy is not None
    for name, facts in augmenter.policy.describe().items():
        fabric.print(f"{name}: +-{facts['half_width']:.3g} {facts['unit']}")
    return plain, learned


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--precision", default="32-true", help="for instance bf16-mixed")
    main(**vars(parser.parse_args()))
