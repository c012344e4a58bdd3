"""TrivialAugment, RandAugment, AutoAugment and AugMix: what is drawn, and what is done, against torchvision."""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
import torch
import torchvision.transforms.v2 as T
from sweeps import sweep
from torch import Tensor
from torchvision_policies import NAMES, Draw, draws, eight_bit, key, nothing, on_bytes, on_floats, row

from augnet.baselines import AugMix, AutoAugment, RandAugment, TrivialAugment
from augnet.baselines.auto_augment import OP_PAIRS
from augnet.classic import AUTO, MIX, RAND, TRIVIAL, ClassicOp, Scale, apply_classic, table

SIDES = (20, 28)
TABLES = {
    "trivial": (TRIVIAL, T.TrivialAugmentWide, 31),
    "rand": (RAND, T.RandAugment, 31),
    "auto": (AUTO, T.AutoAugment, 10),
    "mix": (MIX, T.AugMix, 10),
}
BLENDS = ("Brightness", "Color", "Contrast", "Sharpness", "AutoContrast")  # cut to whole levels, gray too, on 8 bits
LEANING = ("ShearX", "ShearY", "Rotate")  # some sources are half-way between pixels: rounding says which is nearest
GRAY = 2e-4  # torchvision's weight of red is 0.2989, not 0.299


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unlike(counts: Counter[Any], expected: dict[Any, float]) -> float:
    """Chi-square of counts against probabilities, in standard deviations from its mean."""
    total = sum(counts.values())
    assert set(counts) <= {event for event, share in expected.items() if share > 0}
    events = [(counts[event], share * total) for event, share in expected.items() if share > 0]
    statistic = sum((seen - awaited) ** 2 / awaited for seen, awaited in events)
    freedom = len(events) - 1
    return float((statistic - freedom) / (2 * freedom) ** 0.5)


def alike(result: Tensor, expected: Tensor, tolerance: float, share: float) -> None:
    """Of the values of one image, a share is within the tolerance of one of those expected, `[(n,) C, H, W]`."""
    assert result.shape == expected.shape[-3:]
    difference = (result - expected).abs().view(-1, *result.shape).amin(0)
    assert float((difference <= tolerance).double().mean()) >= share


def nearest_alternatives(image: Tensor, draw: Draw) -> Tensor:
    """torchvision's result; for sheared and turned images also those of slightly other magnitudes, `[n, C, H, W]`."""
    name, magnitude = draw
    nudges = (0.0, -1e-4, 1e-4) if name in LEANING else (0.0,)
    return torch.stack([on_bytes(image, (name, magnitude + nudge)) for nudge in nudges])


def decoder(policy: Any, bins: Iterable[int], of: int, height: int, width: int) -> dict[tuple[float, ...], Draw]:
    """From a row of magnitudes to what torchvision would be called with."""
    everything = {name: draws(policy, name, of, height, width) for name in policy._AUGMENTATION_SPACE}
    known = {
        row(draw, height, width): draw for bin_, name in product(bins, everything) for draw in everything[name][bin_]
    }
    return known | {nothing(): ("Identity", 0.0)}


@sweep("channels", [3, 1])
@sweep(
    ("kind", "name"),
    [(kind, name) for kind, (_, policy, _) in TABLES.items() for name in policy._AUGMENTATION_SPACE],
    by=lambda case: case[0],
)
def test_every_op_and_strength_is_torchvisions(kind: str, name: str, channels: int) -> None:
    scale, policy, bins = TABLES[kind]
    rows = table(scale, (NAMES[name],), *SIDES)[0]
    possible = draws(policy, name, bins, *SIDES)
    image = eight_bit(1, channels, *SIDES)
    everything = image.expand(2 * bins, -1, -1, -1)
    nearest, bilinear = (apply_classic(everything, rows.flatten(0, 1), mode) for mode in ("nearest", "bilinear"))
    for index, draw in enumerate(draw for both in possible for draw in (both if len(both) == 2 else both * 2)):
        alike(nearest[index], nearest_alternatives(image[0], draw), (2 if name in BLENDS else 0.01) / 255, 1.0)
        alike(bilinear[index], on_floats(image[0], draw, "bilinear"), GRAY, 1.0)


@pytest.mark.parametrize("sides", [SIDES, (32, 32)])
def test_trivial_augment_draws_op_strength_and_sign_as_often_as_torchvision(sides: tuple[int, int]) -> None:
    expected: dict[tuple[float, ...], float] = {}
    for name in T.TrivialAugmentWide._AUGMENTATION_SPACE:
        for both in draws(T.TrivialAugmentWide, name, 31, *sides):
            for draw in both:
                at = row(draw, *sides)
                expected[at] = expected.get(at, 0.0) + 1 / 14 / 31 / len(both)
    assert sum(expected.values()) == pytest.approx(1)
    images = torch.zeros(1, dtype=torch.float64).expand(40_000, 3, *sides)
    drawn = Counter(key(one) for one in TrivialAugment().sample(images, generator=generator()))
    assert abs(unlike(drawn, expected)) < 4


@pytest.mark.slow
@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_rand_augment_draws_as_torchvision(magnitude: int) -> None:
    single: dict[tuple[float, ...], float] = {}
    for name in T.RandAugment._AUGMENTATION_SPACE:
        both = draws(T.RandAugment, name, 31, *SIDES)[magnitude]
        for draw in both:
            at = row(draw, *SIDES)
            single[at] = single.get(at, 0.0) + 1 / 14 / len(both)
    images = torch.zeros(1, dtype=torch.float64).expand(15_000, 3, *SIDES)
    first, second = RandAugment(magnitude=magnitude).sample(images, generator())
    drawn = Counter((key(one), key(two)) for one, two in zip(first, second, strict=True))
    assert abs(unlike(drawn, {(a, b): single[a] * single[b] for a, b in product(single, single)})) < 4


def test_auto_augment_has_the_policy_of_torchvision() -> None:
    theirs = T.AutoAugment(T.AutoAugmentPolicy.CIFAR10)._policies
    assert [[(NAMES[name], share, bin_ or 0) for name, share, bin_ in pair] for pair in theirs] == [
        list(pair) for pair in OP_PAIRS
    ]


def test_auto_augment_draws_as_torchvision() -> None:
    expected: dict[Any, float] = {}
    for pair in T.AutoAugment(T.AutoAugmentPolicy.CIFAR10)._policies:
        outcomes = []
        for name, share, bin_ in pair:
            both = draws(T.AutoAugment, name, 10, *SIDES)[bin_ or 0]
            done = [(row(draw, *SIDES), share / len(both)) for draw in both]
            outcomes.append([*done, (nothing(), 1 - share)])
        for (one, first), (two, second) in product(*outcomes):
            expected[one, two] = expected.get((one, two), 0.0) + first * second / 25
    images = torch.zeros(1, dtype=torch.float64).expand(30_000, 3, *SIDES)
    drawn = Counter((key(one), key(two)) for one, two in zip(*AutoAugment().sample(images, generator()), strict=True))
    assert abs(unlike(drawn, expected)) < 4


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_rand_augment_is_torchvisions_ops_in_sequence(rounds: int, channels: int) -> None:
    images, baseline = eight_bit(60, channels, *SIDES), RandAugment(rounds, 14)
    meaning = decoder(T.RandAugment, [14], 31, *SIDES)
    expected = in_sequence(images, baseline.sample(images, generator()), meaning)
    for result, awaited in zip(baseline(images, generator()), expected, strict=True):
        alike(result, awaited, 1e-3, 0.98)  # equalize and posterize make steps of the difference in gray


def test_auto_augment_is_torchvisions_ops_in_sequence() -> None:
    images, baseline = eight_bit(150, 3, *SIDES), AutoAugment()
    meaning = decoder(T.AutoAugment, range(10), 10, *SIDES)
    expected = in_sequence(images, baseline.sample(images, generator()), meaning)
    for result, awaited in zip(baseline(images, generator()), expected, strict=True):
        alike(result, awaited, 1e-3, 0.98)  # equalize and posterize make steps of the difference in gray


def in_sequence(
    images: Tensor, rounds: Tensor, meaning: dict[tuple[float, ...], Draw], interpolation: str = "nearest"
) -> Tensor:
    """Image by image, op by op; `rounds` `[n, B, P]`."""
    results = []
    for image, rows in zip(images, rounds.unbind(1), strict=True):
        for one in rows:
            image = on_floats(image, meaning[key(one)], interpolation)
        results.append(image)
    return torch.stack(results)


@pytest.mark.parametrize(("severity", "chains"), [(3, 3), (10, 2), (1, 1)])
def test_augmix_blends_chains_of_torchvisions_ops(severity: int, chains: int) -> None:
    images, baseline = eight_bit(24, 3, *SIDES), AugMix(severity, chains)
    meaning = decoder(T.AugMix, range(severity), 10, *SIDES)
    rows, weights = baseline.sample(images, generator())
    expected = weights[0].double()[:, None, None, None] * images
    for chain in range(chains):
        end = in_sequence(images, rows[:, chain], meaning, "bilinear")
        expected = expected + weights[chain + 1].double()[:, None, None, None] * end
    for result, awaited in zip(baseline(images, generator()), expected, strict=True):
        alike(result, awaited, 1e-3, 0.98)  # equalize and posterize make steps of the difference in gray


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_augmix_weights_and_depths(alpha: float) -> None:
    count = 20_000
    images = torch.zeros(1, dtype=torch.float64).expand(count, 3, *SIDES)
    rows, weights = AugMix(severity=3, chains=2, alpha=alpha).sample(images, generator())
    torch.testing.assert_close(weights.sum(0), torch.ones(count), rtol=0, atol=1e-5)
    for share in (weights[0], weights[1] / (weights[1] + weights[2]).clamp(min=1e-30)):  # both Beta(alpha, alpha)
        assert float(share.mean()) == pytest.approx(0.5, abs=0.015)
        assert float(share.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
    possible = [
        draws(T.AugMix, name, 10, *SIDES)[bin_][0] for name in T.AugMix._AUGMENTATION_SPACE for bin_ in range(3)
    ]
    by_chance = sum(row(draw, *SIDES) == nothing() for draw in possible) / len(possible)
    idle = (rows == 0).all(-1).double().mean(dim=(1, 2))
    expected = [by_chance, 1 / 3 + 2 / 3 * by_chance, 2 / 3 + 1 / 3 * by_chance]
    assert idle.tolist() == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(0), "rounds >= 1"),
        (lambda: RandAugment(magnitude=31), r"magnitude in 0 \.\.\. 30, found 2 and 31"),
        (lambda: AugMix(0), r"severity in 1 \.\.\. 10"),
        (lambda: AugMix(chains=0), "chains >= 1"),
        (lambda: AugMix(alpha=float("nan")), "alpha > 0"),
    ],
)
def test_arguments_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_color_ops_refuse_other_numbers_of_channels() -> None:
    with pytest.raises(ValueError, match="3 channels"):
        TrivialAugment()(torch.rand(4, 2, 8, 8))


def test_strengths_never_fall() -> None:
    ops: tuple[ClassicOp, ...] = tuple(NAMES.values())
    scales: tuple[Scale, ...] = (TRIVIAL, RAND, AUTO, MIX)
    for scale, op in product(scales, ops):
        assert (scale.strengths(op, 20, 28).diff() >= 0).all()
