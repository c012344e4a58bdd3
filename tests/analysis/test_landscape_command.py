"""The surface against plain modules and autograd, and the command on a finished run."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from analysis.__main__ import main
from analysis.landscape.directions import filter_weights
from analysis.landscape.loss_surface import LossSurface, flat, in_filter_units
from analysis.results import read_result
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import LabelledImages, MemoryStore


@pytest.fixture
def surface() -> LossSurface:
    torch.manual_seed(0)
    model = Classifier(3, 3, model_kwargs={"width": 2})
    images, labels = torch.rand(600, 3, 8, 8), torch.arange(600) % 3
    with torch.no_grad():  # running statistics and biases that are not those of a start
        for _ in range(20):
            model.network(2 * images[:50])
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return LossSurface(model.eval().requires_grad_(False), images, labels)


def test_the_loss_is_that_of_the_network_with_other_weights(surface: LossSurface) -> None:
    weights = filter_weights(surface.model.network)
    moved = {name: 1.3 * weight for name, weight in weights.items()}
    before = {name: value.clone() for name, value in surface.model.state_dict().items()}
    here, there = surface.loss(weights), surface.loss(moved)
    for name, value in surface.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert here == pytest.approx(plain_loss(surface), rel=1e-5)
    surface.model.network.load_state_dict(moved, strict=False)
    assert there == pytest.approx(plain_loss(surface), rel=1e-5)
    assert there != pytest.approx(here, rel=1e-3)


def plain_loss(surface: LossSurface) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(surface.model(surface.images), surface.labels))


def test_batch_gradients_are_those_of_autograd_and_add_up(surface: LossSurface) -> None:
    found = list(surface.gradients(250))
    assert len(found) == 2  # 100 images are left out
    surface.model.requires_grad_(True)
    for index, gradient in enumerate(found):
        surface.model.zero_grad()
        rows = slice(250 * index, 250 * (index + 1))
        nn.functional.cross_entropy(surface.model(surface.images[rows]), surface.labels[rows]).backward()
        for name, parameter in surface.model.network.named_parameters():
            assert parameter.grad is not None
            assert torch.allclose(gradient[name], parameter.grad, atol=1e-6), name
    whole = next(iter(surface.gradients(500)))
    assert torch.allclose(flat(whole), (flat(found[0]) + flat(found[1])) / 2, atol=1e-6)


def test_filter_units_do_not_see_the_scale_of_a_filter_before_normalization(surface: LossSurface) -> None:
    """Ten times the weights of a filter and ten times its running deviation: the same function."""
    weights = filter_weights(surface.model.network)
    first = next(name for name in weights if weights[name].ndim == 4)

    def gradients() -> tuple[Tensor, Tensor]:
        gradient = next(iter(surface.gradients(100)))
        return gradient[first], in_filter_units(gradient, weights)[first]

    raw, in_units = gradients()
    loss = surface.loss(weights)
    weights[first][1] *= 10
    normalization = next(module for module in surface.model.network.modules() if isinstance(module, nn.BatchNorm2d))
    assert normalization.running_mean is not None
    assert normalization.running_var is not None
    normalization.running_mean[1] *= 10
    normalization.running_var[1] = 100 * (normalization.running_var[1] + normalization.eps) - normalization.eps
    assert surface.loss(weights) == pytest.approx(loss, rel=1e-4)
    raw_scaled, in_units_scaled = gradients()
    assert torch.allclose(in_units_scaled, in_units, rtol=1e-2, atol=1e-6)
    assert torch.allclose(raw_scaled[1], raw[1] / 10, rtol=1e-2, atol=1e-7)


def test_a_surface_draws_its_images_without_repeating_any() -> None:
    images = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 1, 2, 2).clone()
    train = LabelledImages(MemoryStore(images), torch.arange(50))
    model = Classifier(50, 1)
    drawn = LossSurface.of(model, train, 20, seed=0)
    assert len(set(drawn.labels.tolist())) == 20
    assert torch.equal((drawn.images[:, 0, 0, 0] * 255).round().long(), drawn.labels)
    assert not torch.equal(drawn.labels, LossSurface.of(model, train, 20, seed=1).labels)
    assert len(LossSurface.of(model, train, 100, seed=0).labels) == 50


@pytest.mark.slow
def test_the_command_measures_a_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["landscape", str(finished), "--images=300", "--directions=3", "--batch_size=30", "--progress=false"]
    main([*arguments, "--threshold=3.0"])
    content = read_result(finished, "landscape")
    assert content is not None
    found = content["result"]
    assert 0 < found["train_loss"] < 3
    assert found["flatness"]["reached"] == 3
    assert len(set(found["flatness"]["distances"])) == 3
    assert 0 < found["flatness"]["distance"] < 5
    noise = found["gradient_noise"]
    assert (noise["parameters"]["batches"], noise["parameters"]["batch_size"]) == (10, 30)
    assert noise["parameters"]["spread"] > 0
    assert noise["filter_units"]["spread"] != noise["parameters"]["spread"]
    assert (finished / "analysis" / content["pictures"][0]).stat().st_size > 10_000
    assert "flatness, in filter norms" in capsys.readouterr().out

    main([*arguments, f"--threshold={found['train_loss'] / 2}"])
    above = read_result(finished, "landscape")
    assert above is not None
    assert above["result"]["flatness"]["distance"] == 0  # the model lies above the threshold
    main([*arguments, "--threshold=3.0", "--step=0.001", "--longest=0.001"])
    short = read_result(finished, "landscape")
    assert short is not None
    assert (short["result"]["flatness"]["distance"], short["result"]["flatness"]["reached"]) == (None, 0)


@pytest.mark.slow
def test_landscape_mistakes_are_one_line(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--images=10"], "two batches of 64 do not fit into 10 images"),
        (["--directions=0"], "directions must be at least 1"),
        (["--threshold=0"], "expected threshold > 0"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["landscape", str(finished), "--progress=false", *arguments])
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err
