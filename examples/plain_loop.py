"""Learned augmentation in a plain PyTorch loop: `python examples/plain_loop.py`, about a minute on one core.

The training digits are upright, those of deployment are turned by up to 45 degrees. The seven lines that matter are
marked with `#!`.
"""

import argparse

import torch
from rotated_digits import accuracy, rotated_digits, small_network
from torch import nn
from torch.utils.data import DataLoader

from augfluence import Augmenter, AugNet, LearnerSettings, load_policy  #!

OPS = {"rotation": 90, "translate_x": 0.2, "translate_y": 0.2, "scale": 0.7, "brightness": 0.3, "contrast": 1}  #!


def train(epochs: int, learned: bool, seed: int = 0) -> tuple[float, Augmenter]:
    """Train a classifier, plain or with learned augmentation; return its accuracy on turned digits."""
    torch.manual_seed(seed)
    training, influence, test = rotated_digits(size=28, seed=seed)
    model = small_network()
    loader = DataLoader(training, batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader))
    settings = LearnerSettings(interval=4, refresh=1)  #!
    augmenter = Augmenter(model, influence, OPS, learner=settings, control="none" if learned else "plain")  #!
    for _ in range(epochs):
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(augmenter(images)), labels)  #!
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            augmenter.step(images, labels)  #!
    return accuracy(model, test), augmenter


def main(epochs: int = 60) -> tuple[float, float, AugNet]:
    """Train without and with learned augmentation; return both accuracies and the policy, which is saved too."""
    plain, _ = train(epochs, learned=False)
    print(f"plain: {plain:.1%} of the turned digits are right")
    learned, augmenter = train(epochs, learned=True)
    print(f"learned: {learned:.1%} of the turned digits are right")
    augmenter.save("policy.json")  #!
    policy = load_policy("policy.json")
    for name, facts in policy.describe().items():
        print(f"{name}: +-{facts['half_width']:.3g} {facts['unit']}")
    return plain, learned, policy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    main(**vars(parser.parse_args()))
