"""Cutout, CutMix and mixup held to the same by hand, and labels to what is seen of each image."""

import pytest
import torch
from augnet_images import generator, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from augnet import TransformSpace
from augnet.batch import Batch
from augnet.ops.mixing import partners_of

MIXING = ("cutmix", "mixup")


def mixed(
    names: tuple[str, ...], images: Tensor, labels: Tensor, magnitudes: Tensor, draws: dict[str, Tensor]
) -> Batch:
    return TransformSpace(names).apply_to(Batch(images, labels), magnitudes, draws)


def painted(count: int, sides: tuple[int, int] = (8, 12)) -> tuple[Tensor, Tensor]:
    """Images `[count, count, H, W]`, image i being 1 in channel i alone, and labels likewise."""
    labels = torch.eye(count, dtype=torch.float64)
    return labels[:, :, None, None].expand(-1, -1, *sides).clone(), labels


@pytest.mark.parametrize(
    ("side", "place", "rows", "columns"),
    [
        (0.5, (0.5, 0.5), (2, 6), (3, 9)),
        (0.25, (0.25, 0.75), (5, 7), (1.5, 4.5)),
        (0.5, (0.0, 0.0), (0, 2), (0, 3)),  # cut off at two borders
        (2.0, (0.5, 0.25), (0, 8), (0, 12)),  # everything
    ],
)
def test_cutout_equals_a_box_of_the_mean_color(
    side: float, place: tuple[float, float], rows: tuple[int, int], columns: tuple[float, float]
) -> None:
    images = noise(1, 3, 8, 12)
    draws = {"cutout": torch.tensor([place], dtype=torch.float64)}
    result = TransformSpace({"cutout": 2.0}).apply(images, torch.full((1, 1), side).double(), draws)
    fine = images.repeat_interleave(2, 3)  # half pixels, for edges that lie there
    fine[..., rows[0] : rows[1], int(2 * columns[0]) : int(2 * columns[1])] = images.mean((2, 3))[..., None, None]
    expected = fine.unflatten(3, (12, 2)).mean(4)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_cutmix_pastes_the_same_place_of_the_partner() -> None:
    images, labels = noise(3, 3, 8, 12), torch.eye(3, dtype=torch.float64)
    draws = {"cutmix": torch.tensor([[0.9, 0.5, 0.5], [0.1, 0.5, 0.5], [0.5, 0.0, 0.0]], dtype=torch.float64)}
    # in the order of the first column: image 1, 2, 0; each takes the next
    assert partners_of(draws["cutmix"]).tolist() == [1, 2, 0]
    result = mixed(("cutmix",), images, labels, torch.full((3, 1), 0.25).double(), draws)
    expected = images.clone()
    expected[:2, :, 2:6, 3:9] = images[[1, 2], :, 2:6, 3:9]
    expected[2, :, :2, :3] = images[0, :, :2, :3]
    torch.testing.assert_close(result.images, expected, rtol=0, atol=1e-12)
    seen = torch.tensor([[0.75, 0.25, 0], [0, 0.75, 0.25], [0.0625, 0, 0.9375]], dtype=torch.float64)
    torch.testing.assert_close(result.labels, seen, rtol=0, atol=1e-12)


def test_mixup_is_a_weighted_mean_of_images_and_labels() -> None:
    images, labels = noise(4, 3, 6, 7), torch.eye(4, dtype=torch.float64)
    draws = {"mixup": torch.tensor([[0.3], [0.1], [0.9], [0.5]], dtype=torch.float64)}
    partner = [3, 0, 1, 2]  # the order is 1, 0, 3, 2
    shares = torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
    result = mixed(("mixup",), images, labels, shares[:, None], draws)
    weights = shares[:, None, None, None]
    expected = (1 - weights) * images + weights * images[partner]
    torch.testing.assert_close(result.images, expected, rtol=0, atol=1e-12)
    expected_labels = (1 - shares[:, None]) * labels + shares[:, None] * labels[partner]
    torch.testing.assert_close(result.labels, expected_labels, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    names=st.sampled_from([("cutmix",), ("mixup",), MIXING]),
    count=st.integers(1, 6),
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 2**31),
)
def test_labels_are_what_is_seen_of_each_image(
    names: tuple[str, ...], count: int, sides: tuple[int, int], seed: int
) -> None:
    """The label share of CutMix is the area that the patch covers after it is cut off at the border."""
    images, labels = painted(count, sides)
    space, source = TransformSpace(dict.fromkeys(names, 1.0)), generator(seed)
    magnitudes = torch.rand(count, len(names), generator=source, dtype=torch.float64)
    result = space.apply_to(Batch(images, labels), magnitudes, generator=source)
    assert result.labels is not None
    torch.testing.assert_close(result.images.mean((2, 3)), result.labels, rtol=0, atol=1e-9)
    torch.testing.assert_close(result.labels.sum(1), torch.ones(count).double(), rtol=0, atol=1e-9)


@given(count=st.integers(2, 40), seed=st.integers(0, 2**31))
def test_partners_are_other_images_each_once(count: int, seed: int) -> None:
    partners = partners_of(torch.rand(count, 3, generator=generator(seed)))
    assert sorted(partners.tolist()) == list(range(count))
    assert (partners != torch.arange(count)).all()


def test_a_batch_of_one_mixes_with_itself() -> None:
    images, labels = noise(1, 3, 6, 7), torch.tensor([[0.0, 1.0]])
    result = TransformSpace(MIXING).apply_to(Batch(images, labels), torch.full((1, 2), 0.4), generator=generator())
    torch.testing.assert_close(result.images, images, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.labels, labels)


@pytest.mark.parametrize("name", MIXING)
def test_labels_carry_the_gradient_of_the_share(name: str) -> None:
    space = TransformSpace([name])
    images, labels = noise(3, 2, 5, 6), torch.eye(3, dtype=torch.float64)
    draws = space.noise(images, generator())

    def labels_of(magnitudes: Tensor) -> Tensor:
        result = space.apply_to(Batch(images, labels), magnitudes, draws).labels
        assert result is not None
        return result

    magnitudes = torch.tensor([[0.2], [0.3], [0.45]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(labels_of, (magnitudes,))
    assert torch.autograd.grad(labels_of(magnitudes).diagonal().sum(), magnitudes)[0].ne(0).all()


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize(("labels", "found"), [(torch.tensor([1, 0]), "int64"), (torch.tensor([0.2, 0.7]), "float32")])
def test_labels_that_cannot_be_mixed(name: str, labels: Tensor, found: str) -> None:
    with pytest.raises(ValueError, match=rf"ops: {name} mix labels: expected probabilities \[B, K\], .*one_hot"):
        TransformSpace([name]).apply_to(Batch(noise(2, 3, 4, 4), labels), torch.zeros(2, 1))


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize(
    "extra", [{"masks": torch.zeros(2, 4, 4)}, {"boxes": torch.zeros(2, 1, 4)}], ids=["masks", "boxes"]
)
def test_masks_and_boxes_cannot_be_mixed(name: str, extra: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=f"ops: {name} cannot mix masks or boxes; leave them out"):
        TransformSpace(["rotation", name]).apply_to(Batch(noise(2, 3, 4, 4), **extra), torch.zeros(2, 2))
