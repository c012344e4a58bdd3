"""Adversarial pretraining of the field decoder toward images of a usual augmentation.

Relativistic average losses (Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019): a score counts by its
distance above the mean score of the other kind. The network of Lee et al. (CVPR 2020) is pretrained with them; two
discriminators and their layers are those of a public re-implementation of that paper that trained stably.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augnet.code_encoder import conv_stack
from augnet.draws import uniform
from augnet.field import CODE_SIZE
from augnet.field_space import FieldSpace
from augnet.network import AugNet
from augnet.policies import FieldPolicy

Features = Callable[[Tensor], Tensor]
FieldAugNet = AugNet[FieldPolicy, FieldSpace]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return `mean softplus(-(r - mean f)) + mean softplus(f - mean r)`; 2 ln 2 where all scores are equal.

    The discriminator minimizes it, the generator minimizes it with the two kinds exchanged.

    Args:
        real: Scores `[B]` of real images; carry gradient.
        fake: Scores `[B']` of generated images; carry gradient.
    """
    return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()


class Discriminators(nn.Module):
    """A discriminator of pixels and, where their number is given, one of the features of a classifier.

    The first has the layers of the encoder with LeakyReLU 0.2 and one output, the second is one linear layer.

    Args:
        channels: C of the images `[B, C, height, width]`.
        height: In pixels.
        width: In pixels.
        features: D of the classifier's features, or None for pixels only.
        generator: Source of the initial weights; `None` is torch's default generator.
    """

    def __init__(
        self, channels: int, height: int, width: int, features: int | None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        with torch.device("meta"):  # no memory and no draws yet
            scorers: list[nn.Module] = [conv_stack(channels, height, width, 1, lambda: nn.LeakyReLU(0.2))]
            if features is not None:
                scorers.append(nn.Linear(features, 1))
        self.scorers = nn.ModuleList(scorers).to_empty(device="cpu")
        for parameter in self.parameters():
            if parameter.ndim > 1:  # uniform with a variance of 1 / inputs
                spread = (12 / parameter[0].numel()) ** 0.5
                parameter.data.copy_((uniform(parameter.shape, parameter, generator) - 0.5) * spread)
            else:
                nn.init.zeros_(parameter)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """Return the scores `[B]` by each discriminator of images and, if there is one, of features `[B, D]`."""
        return [scorer(given)[:, 0] for scorer, given in zip(self.scorers, inputs, strict=True)]


def pretrain_field(
    network: FieldAugNet,
    batches: Iterable[tuple[Tensor, Tensor]],
    feature_extractor: Features | None = None,
    steps: int = 2000,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Train the decoder G of `network` in place to make `G(x, tau)`, `tau ~ U(-1, 1)^128`, resemble augmented images.

    The losses of both discriminators have weight 1; Adam at 2e-4, betas (0.5, 0.999); 2,000
    steps for CIFAR (values of a public re-implementation of Lee et al., CVPR 2020, that trained stably). Each batch is
    used for one step of the discriminators and one of G, without dropout on the random codes (this project's choice).
    Only the decoder changes: the encoder keeps its weights and the discriminators are discarded.

    Adversarial losses oscillate and need not decrease; inspect the images.

    Args:
        network: The network whose decoder is trained, on the device to train on.
        batches: Pairs of images to be transformed and target images, such as the same ones under a fixed baseline, both
            `[B, C, H, W]` in [0, 1]; iterated again when exhausted.
        feature_extractor: Images to features `[B, D]` of a trained classifier in evaluation mode; not changed.
        steps: Number of steps of the optimizers.
        generator: Source of the codes and of the discriminators' initial weights; `None` is torch's default.

    Returns:
        The losses of each step, `[steps, 2]` on the CPU: of the discriminators, of G.

    Raises:
        ValueError: If the extractor is in training mode, the decoder is frozen, or there are too few batches.
    """
    _check(network, feature_extractor)
    weights = list(network.policy.decoder.parameters())
    discriminators = _discriminators(network, feature_extractor, generator)
    decoder_adam, discriminator_adam = _adam(weights), _adam(discriminators.parameters())
    losses = torch.empty(steps, 2)
    for step, batch in enumerate(_repeat(batches, steps)):
        images, wanted = (part.to(weights[0]) for part in batch)
        codes = 2 * uniform((len(images), CODE_SIZE), images, generator).to(images) - 1
        made = network.space.apply(images, network.policy.decoder(codes))
        with torch.no_grad():
            wanted_inputs = _inputs(wanted, feature_extractor)
        made_inputs = _inputs(made, feature_extractor)
        detached = [part.detach() for part in made_inputs]
        losses[step, 0] = _step(discriminator_adam, _loss(discriminators, wanted_inputs, detached))
        losses[step, 1] = _step(decoder_adam, _loss(discriminators, made_inputs, wanted_inputs))
    return losses


def _check(network: FieldAugNet, feature_extractor: Features | None) -> None:
    if not all(parameter.requires_grad for parameter in network.policy.decoder.parameters()):
        raise ValueError("expected a decoder that can learn, found frozen parameters; call requires_grad_(True).")
    if isinstance(feature_extractor, nn.Module) and any(module.training for module in feature_extractor.modules()):
        raise ValueError("expected a feature extractor in evaluation mode, found training mode; call its eval().")


def _discriminators(
    network: FieldAugNet, feature_extractor: Features | None, generator: torch.Generator | None
) -> Discriminators:
    weight, size = network.policy.decoder.dense.weight, (network.space.channels, *network.space.size)
    features = None
    if feature_extractor is not None:
        with torch.no_grad():
            features = feature_extractor(weight.new_zeros(1, *size)).shape[1]
    return Discriminators(*size, features, generator).to(weight)


def _inputs(images: Tensor, feature_extractor: Features | None) -> list[Tensor]:
    """Return the inputs of the discriminators, the images and, with an extractor, their features."""
    return [images] if feature_extractor is None else [images, feature_extractor(images)]


def _loss(discriminators: Discriminators, real: list[Tensor], fake: list[Tensor]) -> Tensor:
    pairs = zip(discriminators(*real), discriminators(*fake), strict=True)
    return torch.stack([discriminator_loss(*pair) for pair in pairs]).sum()


def _adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """Step the parameters of the optimizer; no others, of the extractor or the encoder, receive a gradient."""
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def _repeat(batches: Iterable[tuple[Tensor, Tensor]], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `count` batches, iterating again when they are exhausted."""
    done = 0
    while done < count:
        before = done
        for batch in islice(batches, count - done):
            yield batch
            done += 1
        if done == before:
            raise ValueError(
                f"batches: expected {count}, found {done} and no more; give a list or a DataLoader, which can be "
                "started again, or fewer steps."
            )
