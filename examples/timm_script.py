"""Learned augmentation in a training script of timm: `python examples/timm_script.py`, a minute on one core.

Model, optimizer, transforms with normalization and loader are timm's; `mean` and `std` tell the augmenter how
the loader normalizes.
"""

import argparse
from typing import Any

import PIL.Image
import torch
from rotated_digits import rotated_digits
from timm.data import create_loader, resolve_data_config
from timm.models import create_model
from timm.optim import create_optimizer_v2
from torch import nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms.v2.functional import to_pil_image

from augfluence import Augmenter, LearnerSettings

OPS = {"rotation": 90, "translate_x": 0.2, "scale": 0.7, "brightness": 0.3}


class Pictures(Dataset[Any]):
    """Pairs of picture and class number; timm's loader sets the transform."""

    transform: Any = None

    def __init__(self, pairs: TensorDataset) -> None:
        images, self.labels = pairs.tensors
        self.pictures: list[PIL.Image.Image] = [to_pil_image(image).convert("RGB") for image in images]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(self.pictures[index]), int(self.labels[index])


def train(epochs: int, learned: bool) -> tuple[float, Augmenter]:
    """Train a classifier, plain or with learned augmentation; return its accuracy on turned digits."""
    torch.manual_seed(0)
    model = create_model("test_resnet", num_classes=10)
    data = resolve_data_config({"input_size": (3, 32, 32), "crop_pct": 1.0}, model=model)
    how: dict[str, Any] = {"batch_size": 64, "use_prefetcher": False, "num_workers": 0, "persistent_workers": False}
    how |= {name: data[name] for name in ("input_size", "interpolation", "mean", "std", "crop_pct")}
    training, influence, test = (Pictures(part) for part in rotated_digits())
    training_loader = create_loader(training, is_training=True, no_aug=True, **how)
    influence_loader, test_loader = (create_loader(part, **how) for part in (influence, test))
    optimizer = create_optimizer_v2(model, opt="adamw", lr=3e-3, weight_decay=0.05)
    augmenter = Augmenter(
        model,
        influence_loader,
        OPS,
        mean=data["mean"],
        std=data["std"],
        learner=LearnerSettings(interval=4),
        control="none" if learned else "plain",
    )
    for _ in range(epochs):
        for images, labels in training_loader:
            loss = nn.functional.cross_entropy(model(augmenter(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            augmenter.step(images, labels)
    model.eval()
    with torch.no_grad():
        right = [(model(images).argmax(dim=1) == labels) for images, labels in test_loader]
    return float(torch.cat(right).float().mean()), augmenter


def main(epochs: int = 30) -> tuple[float, float]:
    """Train without and with learned augmentation; return both accuracies."""
    plain, _ = train(epochs, learned=False)
    learned, augmenter = train(epochs, learned=True)
    print(f"plain: {plain:.1%} of the turned digits are right, learned: {learned:.1%}")
    assert augmenter.policy is not None
    for name, facts in augmenter.policy.describe().items():
        print(f"{name}: +-{facts['half_width']:.3g} {facts['unit']}")
    return plain, learned


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    main(**vars(parser.parse_args()))
