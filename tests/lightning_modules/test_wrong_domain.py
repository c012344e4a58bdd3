import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from lightning_modules.data import validate_images, wrong_domain


def test_negative_and_upside_down_by_hand() -> None:
    images = torch.tensor([[[[0.0, 0.2], [0.5, 1.0]]]])
    assert torch.allclose(wrong_domain(images), torch.tensor([[[[0.5, 0.0], [1.0, 0.8]]]]))


def test_nothing_is_lost_and_the_contract_is_kept() -> None:
    images = torch.rand(4, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    wrong = wrong_domain(images)
    validate_images(wrong)
    assert torch.allclose(wrong_domain(wrong), images, atol=1e-6)
    assert torch.equal(images, before)
    images.requires_grad_(True)
    wrong_domain(images).sum().backward()
    assert images.grad is not None
    assert (images.grad == -1).all()


def test_labels_survive_and_no_digit_becomes_another() -> None:
    """Trained in the wrong domain a classifier reads it; trained upright, it takes no mirrored digit for one other."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    wrong, labels = wrong_domain(images), data.target
    model = SVC(gamma=0.001 * 256).fit(wrong[:1200].flatten(1).numpy(), labels[:1200])
    assert model.score(wrong[1200:].flatten(1).numpy(), labels[1200:]) > 0.94
    upright = SVC(gamma=0.001 * 256).fit(images[:1200].flatten(1).numpy(), labels[:1200])
    shares = {}
    for name, turned in (("mirrored", images.flip(-2)), ("turned", images.flip((-2, -1)))):
        called = upright.predict(turned[1200:].flatten(1).numpy())
        shares[name] = max(
            (called[labels[1200:] == own] == other).mean() for own in range(10) for other in range(10) if own != other
        )
    assert shares["mirrored"] < 0.7 < 0.85 < shares["turned"]
