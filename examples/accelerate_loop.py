"""Learned augmentation with Hugging Face Accelerate: `python examples/accelerate_loop.py`, a minute on one core.

The model is a tiny vision transformer of `transformers`, which returns an output with logits. The same file runs
on several devices: `accelerate launch examples/accelerate_loop.py`.
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rotated_digits import accuracy, rotated_digits
from torch.utils.data import DataLoader
from transformers import ViTConfig, ViTForImageClassification

from augfluence import Augmenter, LearnerSettings

OPS = {"rotation": 90, "translate_x": 0.2, "scale": 0.7, "brightness": 0.3}
MEAN, STD = 0.3, 0.35  # of the pixels


def train(accelerator: Accelerator, epochs: int, learned: bool) -> tuple[float, Augmenter]:
    """Train a classifier, plain or with learned augmentation; return its accuracy on turned digits."""
    set_seed(0)
    training, influence, test = rotated_digits()
    network = ViTForImageClassification(
        ViTConfig(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            image_size=16,
            patch_size=4,
            num_channels=1,
            num_labels=10,
        )
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    loader = DataLoader(training, batch_size=64, shuffle=True, drop_last=True)
    model, optimizer, loader = accelerator.prepare(network, optimizer, loader)
    pixels, labels = influence.tensors
    augmenter = Augmenter(
        model,
        ((pixels - MEAN) / STD, labels),
        OPS,
        mean=MEAN,
        std=STD,
        learner=LearnerSettings(interval=4),
        control="none" if learned else "plain",
        forward_context=accelerator.autocast,
    )
    accelerator.register_for_checkpointing(augmenter)  # accelerator.save_state() saves what it has learned
    for _ in range(epochs):
        for pixels, labels in loader:
            images = (pixels - MEAN) / STD
            with accelerator.accumulate(model):
                loss = model(pixel_values=augmenter(images), labels=labels).loss
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                augmenter.step(images, labels)
    return accuracy(network.cpu(), test, MEAN, STD), augmenter


def main(epochs: int = 60) -> tuple[float, float]:
    """Train without and with learned augmentation; return both accuracies."""
    accelerator = Accelerator(cpu=True)
    plain, _ = train(accelerator, epochs, learned=False)
    learned, augmenter = train(accelerator, epochs, learned=True)
    accelerator.print(f"plain: {plain:.1%} of the turned digits are right, learned: {learned:.1%}")
    assert augmenter.policy is not None
    for name, facts in augmenter.policy.describe().items():
        accelerator.print(f"{name}: +-{facts['half_width']:.3g} {facts['unit']}")
    return plain, learned


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    main(**vars(parser.parse_args()))
