"""A saved policy as a transform of single pictures: `python examples/policy_as_transform.py`, half a minute.

It stands in a `Compose` of torchvision and in the transforms of timm, and runs in the workers of the loader.
`python examples/plain_loop.py` writes such a policy; without one, rotations of up to 45 degrees are taken.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from rotated_digits import accuracy, rotated_digits, small_network
from timm.data import create_transform
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import v2

from augfluence import AugNet, load_policy, save_policy
from augnet.export import to_torchvision


class Transformed(Dataset[Any]):
    """Pairs of image and class number, the image as the transform makes it of a picture."""

    def __init__(self, pairs: TensorDataset, transform: Any) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.pairs[index]
        return self.transform(v2.functional.to_pil_image(image)), label


def in_torchvision(policy: AugNet | None) -> v2.Compose:
    """Return transforms of torchvision with the policy among them; None for none."""
    policies = [] if policy is None else [to_torchvision(policy)]
    return v2.Compose([v2.Resize(16), *policies, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def in_timm(policy: AugNet) -> Any:
    """Return the training transforms of timm, flips and color jitter included, behind the policy."""
    transform: Any = create_transform((3, 32, 32), is_training=True, mean=(0.5,) * 3, std=(0.25,) * 3)
    transform.transforms.insert(0, to_torchvision(policy))
    return transform


def train(policy: AugNet | None, epochs: int, workers: int) -> float:
    """Train a classifier on pictures behind the policy; return its accuracy on turned digits."""
    torch.manual_seed(0)
    training, _, test = rotated_digits()
    model = small_network()
    data = Transformed(training, in_torchvision(policy))
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True, num_workers=workers)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return accuracy(model, test)


def main(policy: str = "policy.json", epochs: int = 20, workers: int = 0) -> tuple[float, float]:
    """Train without and with the policy; return both accuracies."""
    if not Path(policy).exists():
        save_policy(AugNet.from_ops({"rotation": 90.0}, initial=0.5), policy)
    learned = load_policy(policy)
    plain, augmented = (train(chosen, epochs, workers) for chosen in (None, learned))
    print(f"plain: {plain:.1%} of the turned digits are right, with the policy: {augmented:.1%}")
    print(in_timm(learned))
    return plain, augmented


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", nargs="?", default="policy.json")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    main(**vars(parser.parse_args()))
