import json
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from augnet_images import noise
from torch import Tensor

from augnet import AugNet
from augnet.export import export_onnx
from augnet.network import Draws
from augnet.ops import OPS

NAMES = tuple(OPS)
# a pixel on the edge of a step may fall to either side, and the slope of gamma at black is infinite: each on its own
SENSITIVE = ("posterize", "solarize", "equalize", "gamma")
GRAY = ("rotation", "contrast", "channel_gain", *SENSITIVE, "autocontrast", "noise", "cutout")
SIZE, CLASSES = (27, 20), 4


class Case:
    """A policy, its graph as onnxruntime runs it, and the same in torch by the policy's own parts."""

    def __init__(self, names: tuple[str, ...], path: Path, channels: int, num_classes: int = 0) -> None:
        self.net, self.channels = AugNet.from_ops(names, initial=0.8), channels
        export_onnx(self.net, path, *SIZE, channels=channels, num_classes=num_classes)
        self.path = path
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def draw(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        """Inputs of the graph, drawn from what it says about them."""
        generator, inputs = torch.Generator().manual_seed(seed), {}
        for spec in self.session.get_inputs():
            shape = [count, *spec.shape[1:]]
            normal = spec.name.endswith("_normal")
            inputs[spec.name] = (torch.randn if normal else torch.rand)(shape, generator=generator)
        if "labels" in inputs:
            inputs["labels"] = inputs["labels"].softmax(dim=1)
        return inputs

    def run(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        outputs = self.session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return tuple(torch.from_numpy(output) for output in outputs)

    @torch.no_grad()
    def expected(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """The policy's own result with the numbers of `inputs` in place of its draws."""
        noises = {name.rpartition("_")[0]: value for name, value in inputs.items()}
        draws = Draws(inputs["policy_uniform"], noises)
        result = self.net(inputs["images"], inputs.get("labels"), draws=draws)
        return result if isinstance(result, tuple) else (result,)

    def without(self, inputs: dict[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
        """The inputs with which the given ops are left out."""
        uniform = inputs["policy_uniform"].clone()
        for name in set(names) & set(self.net.space.names):
            uniform[:, self.net.space.names.index(name)] = 0.5 if OPS[name].signed else 0.0
        return inputs | {"policy_uniform": uniform}


@pytest.fixture(scope="module")
def color(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(NAMES, tmp_path_factory.mktemp("onnx") / "color.onnx", channels=3, num_classes=CLASSES)


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(GRAY, tmp_path_factory.mktemp("onnx") / "gray.onnx", channels=1)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) for name in ("color", "gray")])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_same_pixels_and_labels_for_any_batch(case: Case, count: int) -> None:
    inputs = case.without(case.draw(count, seed=count), SENSITIVE)
    expected = case.expected(inputs)
    for output, value in zip(case.run(inputs), expected, strict=True):
        torch.testing.assert_close(output, value, rtol=0, atol=1e-5)
    assert (expected[0] - inputs["images"]).flatten(1).abs().amax(dim=1).min() > 0.02


@pytest.mark.parametrize("name", [*SENSITIVE, "rotation", "noise"])
def test_each_op_on_its_own(case: Case, name: str) -> None:
    inputs = case.without(case.draw(6), tuple(other for other in case.net.space.names if other != name))
    inputs["images"] = ((0.1 + 0.8 * inputs["images"]) * 255).round() / 255
    expected = case.expected(inputs)[0]
    torch.testing.assert_close(case.run(inputs)[0], expected, rtol=0, atol=1e-5)
    assert (expected - inputs["images"]).abs().max() > 0.01


@pytest.mark.slow
def test_the_random_numbers_are_those_of_the_policy(color: Case) -> None:
    """One draw of torch, taken apart into the inputs of the graph, gives the image that torch makes of it."""
    images, labels = noise(5, 3, *SIZE, dtype=torch.float32), torch.eye(5, CLASSES)
    expected = color.net(images, labels, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    inputs = {"images": images, "policy_uniform": torch.rand(5, len(NAMES), generator=generator)}
    draws = color.net.space.noise(images, generator)
    for name, value in draws.items():
        inputs[f"{name}_{'normal' if name == 'noise' else 'uniform'}"] = value
    augmented, mixed = color.run(inputs | {"labels": labels})
    far = (augmented - expected[0].detach()).abs() > 1e-5
    assert far.float().mean() < 0.02  # the sensitive ops take part
    torch.testing.assert_close(mixed, expected[1].detach(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_file_says_what_it_is(color: Case) -> None:
    onnx.checker.check_model(onnx.load(color.path), full_check=True)
    facts = json.loads(color.session.get_modelmeta().custom_metadata_map["augfluence"])
    assert facts["version"] == 1
    assert {op.pop("name"): op for op in facts["ops"]} == color.net.describe()
    assert list(facts["inputs"]) == [spec.name for spec in color.session.get_inputs()]
    assert facts["inputs"]["policy_uniform"] == facts["inputs"]["crop_uniform"] == "uniform in [0, 1)"
    assert facts["inputs"]["noise_normal"] == "standard normal"
    assert [spec.name for spec in color.session.get_outputs()] == ["augmented", "mixed_labels"]
    assert color.session.get_inputs()[0].shape == ["batch", 3, *SIZE]
    assert str(Path(__file__).parents[2]).encode() not in color.path.read_bytes()


@pytest.mark.slow
def test_exporting_leaves_the_policy_as_it_was_and_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"old")
    case = Case(("brightness", "noise"), path, channels=2)
    assert case.net.training
    assert all(parameter.requires_grad for parameter in case.net.parameters())
    assert list(tmp_path.iterdir()) == [path]
    inputs = case.draw(3)
    torch.testing.assert_close(case.run(inputs), case.expected(inputs), rtol=0, atol=1e-5)


def hue() -> AugNet:
    return AugNet.from_ops(["hue"])


@pytest.mark.parametrize(
    ("make", "name", "settings", "message"),
    [
        (hue, "policy.pb", {}, "a file ending in .onnx, found"),
        (hue, "policy.onnx", {"channels": 1}, "hue need images with 3 channels"),
        (lambda: AugNet.from_ops(["mixup"]), "policy.onnx", {}, "give num_classes"),
    ],
)
def test_what_cannot_be_exported(
    make: Callable[[], AugNet], name: str, settings: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        export_onnx(make(), tmp_path / name, 8, 8, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"onnx and onnxscript .*pip install 'augfluence\[export\]'"):
        export_onnx(hue(), tmp_path / "policy.onnx", 8, 8)


@pytest.fixture
def empty_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a graph, where only the writing is tested."""
    monkeypatch.setattr("augnet.export.onnx._to_onnx", lambda graph, inputs: onnx.ModelProto())


@pytest.mark.usefixtures("empty_model")
def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        export_onnx(AugNet.from_ops(["brightness"]), tmp_path / "file" / "policy.onnx", 8, 8)


@pytest.mark.usefixtures("empty_model")
def test_an_old_file_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        export_onnx(AugNet.from_ops(["brightness"]), path, 8, 8)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
