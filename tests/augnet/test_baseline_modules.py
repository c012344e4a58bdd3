"""Common properties of all baselines, the registry, Cutout, mixup and CutMix."""

from collections import Counter

import pytest
import torch
from augnet_images import noise
from sweeps import sweep
from torch import Tensor

from augnet.baselines import (
    BASELINES,
    Baseline,
    CutMix,
    Cutout,
    FlipCrop,
    MixingBaseline,
    Mixup,
    RandAugment,
    make_baseline,
)

ON_IMAGES = [name for name, kind in BASELINES.items() if issubclass(kind, Baseline)]
COMBINATION = "flip_crop+trivial_augment+cutout"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str) -> Baseline:
    baseline = make_baseline(name)
    assert isinstance(baseline, Baseline)
    return baseline


@pytest.mark.parametrize("name", [*ON_IMAGES, COMBINATION])
def test_evaluation_returns_its_input_and_draws_nothing(name: str) -> None:
    images, state = noise(2, 3, 8, 8), torch.get_rng_state()
    assert made(name).eval()(images) is images
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", [*ON_IMAGES, COMBINATION])
def test_the_generator_alone_decides(name: str) -> None:
    images, state = noise(20, 3, 12, 10), torch.get_rng_state()
    first, same, other = (made(name)(images, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    torch.manual_seed(3)
    assert torch.equal(made(name)(images), made(name)(images, generator(3)))


@pytest.mark.parametrize("name", [*ON_IMAGES, COMBINATION])
@sweep("channels", [1, 3])
@sweep("dtype", [torch.float32, torch.bfloat16])
def test_type_shape_and_range_are_kept_and_the_input_too(name: str, channels: int, dtype: torch.dtype) -> None:
    images = noise(16, channels, 20, 28, dtype=dtype)
    before = images.clone()
    results = made(name)(images, generator())
    assert torch.equal(images, before)
    assert (results.dtype, results.shape) == (dtype, images.shape)
    assert 0 <= float(results.min()) <= float(results.max()) <= 1
    assert not torch.equal(results, images)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_equal_images_are_augmented_differently(name: str) -> None:
    results = made(name)(noise(1, 3, 16, 16).expand(40, -1, -1, -1), generator())
    assert len(results.unique(dim=0)) > 10


@pytest.mark.parametrize("name", ON_IMAGES)
def test_gradient_to_the_images(name: str) -> None:
    images = noise(12, 3, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(made(name)(images, generator()).sum(), images)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


def test_a_combination_is_its_parts_in_order() -> None:
    images, both, one = noise(10, 3, 12, 12), generator(), generator()
    expected = made("cutout")(made("trivial_augment")(made("flip_crop")(images, one), one), one)
    assert torch.equal(made(COMBINATION)(images, both), expected)


def test_names_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"unknown baseline 'trivial_augmnet'; did you mean trivial_augment.*Known"):
        make_baseline("trivial_augmnet")
    with pytest.raises(ValueError, match="unknown baseline ''"):
        make_baseline("flip_crop+")
    with pytest.raises(ValueError, match=r"'mixup\+flip_crop': mixup and cutmix .* put them last"):
        make_baseline("mixup+flip_crop")
    for part in ("trivial_augment:5", "rand_augment:", "rand_augment:strong"):
        with pytest.raises(ValueError, match=f"'{part}': a strength can be given to rand_augment alone"):
            make_baseline(f"flip_crop+{part}")
    with pytest.raises(ValueError, match=r"magnitude in 0 \.\.\. 30, found 2 and 31"):
        make_baseline("rand_augment:31")


def test_a_strength_in_the_name() -> None:
    images = noise(10, 3, 12, 12)
    assert torch.equal(make_baseline("rand_augment:0")(images, generator()), RandAugment(2, 0)(images, generator()))
    weak, strong = (make_baseline(f"rand_augment:{magnitude}")(images, generator()) for magnitude in (2, 20))
    assert (weak - images).abs().mean() < (strong - images).abs().mean()


def test_mixing_comes_after_the_others() -> None:
    images, labels = noise(10, 3, 12, 12), torch.eye(10)
    both, one = generator(), generator()
    expected = Mixup()(make_baseline("flip_crop")(images, one), labels, one)
    found = make_baseline("flip_crop+mixup")(images, labels, both)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert make_baseline("flip_crop+mixup").eval()(images, labels)[0] is images


def test_registry_names_every_baseline_once() -> None:
    assert {type(make_baseline(name)) for name in BASELINES} == set(BASELINES.values())
    assert isinstance(make_baseline("flip_crop"), FlipCrop)


def test_cutout_covers_every_square_as_often() -> None:
    image, side = noise(3, 6, 8), 0.5
    mean = image.mean(dim=(1, 2), keepdim=True)
    possible = {}
    for y in range(6):
        for x in range(8):
            square = torch.zeros(6, 8, dtype=torch.bool)
            square[max(y - 1, 0) : y + 2, max(x - 2, 0) : x + 2] = True
            possible[y, x] = torch.where(square, mean, image)
    # 6 rows: a side of 3 pixels, its rim half covered; only the columns are cut between pixels
    results = Cutout(side)(image.expand(9600, -1, -1, -1), generator())
    center_rows = (results - image).abs().sum(1) > 1e-9
    found: Counter[tuple[int, ...]] = Counter()
    for covered in center_rows:
        columns = covered.any(0).nonzero()[:, 0]
        found[int(columns[0]), int(columns[-1])] += 1
    expected = Counter((max(x - 2, 0), min(x + 1, 7)) for _, x in possible)
    assert set(found) == set(expected)
    for span, ways in expected.items():
        assert abs(found[span] - 9600 * ways / 48) < 5 * (9600 * ways / 48) ** 0.5


@pytest.mark.parametrize("kind", [Mixup, CutMix])
@pytest.mark.parametrize("sides", [(20, 28), (32, 32)])
def test_mixed_labels_say_what_is_in_the_image(kind: type[MixingBaseline], sides: tuple[int, int]) -> None:
    count = 24
    values = torch.linspace(0, 1, count, dtype=torch.float64)
    images = values[:, None, None, None].expand(-1, 3, *sides)
    results, labels = kind()(images, torch.eye(count, dtype=torch.float64), generator())
    torch.testing.assert_close(labels.sum(1), torch.ones_like(values))
    torch.testing.assert_close(results.mean(dim=(1, 2, 3)), labels @ values, rtol=0, atol=1e-6)
    assert ((labels > 0).sum(1) <= 2).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_shares_are_beta(alpha: float) -> None:
    count = 4000
    _, labels = Mixup(alpha)(torch.zeros(count, 1, 1, 1), torch.eye(count), generator())
    share = 1 - labels.diagonal()
    assert float(share.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(share.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@pytest.mark.parametrize("kind", [Mixup, CutMix])
def test_mixing_modes_generator_and_errors(kind: type[MixingBaseline]) -> None:
    images, labels, state = noise(6, 3, 8, 8), torch.eye(6), torch.get_rng_state()
    first, same, other = (kind()(images, labels, generator(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])
    kept: tuple[Tensor, Tensor] = kind().eval()(images, labels)
    assert kept[0] is images
    assert kept[1] is labels
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="expected probabilities"):
        kind()(images, torch.arange(6))
    with pytest.raises(ValueError, match="alpha: expected a number > 0, found 0"):
        kind(0)


@pytest.mark.parametrize("side", [0.0, -1.0, 2.1, float("nan")])
def test_cutout_side_out_of_range(side: float) -> None:
    with pytest.raises(ValueError, match="side: expected"):
        Cutout(side)
