import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from augnet_images import noise
from safetensors.torch import load_file, save_file
from sweeps import sweep

from augnet import (
    AugNet,
    ClassConditionalPolicy,
    ConditionalPolicy,
    IntervalPolicy,
    MixturePolicy,
    RangePolicy,
    TransformSpace,
    load_policy,
    save_policy,
)
from augnet.classic import classic_space
from augnet.ops import OPS
from augnet.ops.registry import FORMER_NAMES
from augnet.policies import POLICIES
from augnet.policy_file import VERSION

GOLDEN = Path(__file__).parent / "golden"
SPACE = TransformSpace({"rotation": 45.0, "scale": 0.5, "grayscale": 0.25})
FORMER = pytest.mark.filterwarnings("ignore:ops are spelled:DeprecationWarning")  # `test_renamed` expects it
Header = dict[str, Any]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def learned(*names: str, seed: int = 0) -> AugNet:
    """A policy with ranges of no round number."""
    net = AugNet.from_ops(names or tuple(OPS))
    with torch.no_grad():
        net.policy.theta.normal_(generator=torch.Generator().manual_seed(seed))
    return net


def of_every_kind() -> dict[str, AugNet[Any, Any]]:
    """A learned policy of each kind, and TrivialAugment's mixture."""
    kinds: dict[str, AugNet[Any, Any]] = {
        "range": AugNet(SPACE, RangePolicy(SPACE.bounds, signed=SPACE.signed)),
        "interval": AugNet(SPACE, IntervalPolicy(SPACE)),
        "mixture": AugNet(SPACE, MixturePolicy.over(SPACE, 7, levels=2, ops_per_image=2, floor=0.2)),
        "trivial_augment": AugNet(classic_space(), MixturePolicy.trivial_augment()),
        "conditional": AugNet(SPACE, ConditionalPolicy(SPACE, 3, num_classes=2, width=2)),
        "class_conditional": AugNet(SPACE, ClassConditionalPolicy(SPACE, 2)),
        "field": AugNet.from_fields(3, 8, 8, "serial", dropout=0.25),
    }
    for net in kinds.values():
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5, generator=generator())
    kinds["field"].policy.latest.copy_(torch.tensor([1.5, 0.25, 0.125]))
    return kinds


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A policy file with three ops."""
    path = tmp_path / "policy.json"
    save_policy(learned("rotation", "scale", "hue"), path)
    return path


def rewrite(path: Path, edit: Callable[[Header], object]) -> None:
    header = json.loads(path.read_text())
    edit(header)
    path.write_text(json.dumps(header))


@pytest.mark.parametrize("kind", of_every_kind())
@sweep("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_round_trip_keeps_every_bit_and_pixel(tmp_path: Path, dtype: torch.dtype, kind: str) -> None:
    net = of_every_kind()[kind].to(dtype)
    save_policy(net, tmp_path / "deep" / "policy.json")
    loaded = load_policy(str(tmp_path / "deep" / "policy.json"))
    assert type(loaded.policy) is type(net.policy)
    assert type(loaded.space) is type(net.space)
    assert loaded.space.config() == net.space.config()
    assert loaded.policy.config() == net.policy.config()
    assert loaded.describe() == net.describe()
    before, after = net.policy.state_dict(), loaded.policy.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == dtype
        assert torch.equal(after[name], tensor)
    images, labels = noise(4, 3, 8, 8, dtype=torch.float32), torch.tensor([0, 1, 1, 0])
    with torch.no_grad():
        expected = net(images, labels, generator=generator())[0]
        assert torch.equal(loaded(images, labels, generator=generator())[0], expected)
    assert not torch.equal(expected, images)


def test_all_ops_go_round(tmp_path: Path) -> None:
    net = learned()
    save_policy(net, tmp_path / "policy.json")
    assert load_policy(tmp_path / "policy.json").describe() == net.describe()


def test_the_uniform_policy_goes_round(tmp_path: Path) -> None:
    net = AugNet.from_ops({"rotation": 30.0, "contrast": 0.5}, initial=1.0)
    save_policy(net, tmp_path / "policy.json")
    loaded = load_policy(tmp_path / "policy.json")
    assert loaded.space.bounds == (30.0, 0.5)
    assert loaded.policy.half_widths().tolist() == [30.0, 0.5]


def test_a_loaded_policy_is_frozen_and_augments_in_training_alone(path: Path) -> None:
    loaded = load_policy(path)
    assert list(loaded.parameters())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    images = noise(2, 3, 8, 8, dtype=torch.float32)
    result = loaded.train()(images)
    assert not result.requires_grad
    assert not torch.equal(result, images)
    assert loaded.eval()(images) is images


def test_saving_leaves_the_policy_as_it_was(path: Path) -> None:
    net = learned()
    before = net.policy.theta.detach().clone()
    save_policy(net, path)
    assert net.policy.theta.requires_grad
    assert torch.equal(net.policy.theta, before)


def test_the_json_is_what_people_read(tmp_path: Path) -> None:
    net = AugNet.from_ops({"hue": 20.0, "rotation": 45.0}, initial=0.2)
    save_policy(net, tmp_path / "policy.json")
    assert sorted(os.listdir(tmp_path)) == ["policy.json", "policy.safetensors"]
    text = (tmp_path / "policy.json").read_text()
    assert text.count("\n") > 10
    assert json.loads(text) == {
        "format": "augfluence-policy",
        "version": 2,
        "policy": "range",
        "settings": {},
        "interpolation": "bilinear",
        "bounds": {"rotation": 45.0, "hue": 20.0},
        "ops": [
            {"name": "rotation", "half_width": 9.0, "unit": "degrees", "bound": 45.0},
            {"name": "hue", "half_width": 4.0, "unit": "degrees", "bound": 20.0},
        ],
    }
    assert set(load_file(tmp_path / "policy.safetensors")) == {"theta", "bounds"}


def test_the_json_of_a_mixture_is_what_people_read(tmp_path: Path) -> None:
    space = TransformSpace({"rotation": 30.0})
    save_policy(AugNet(space, MixturePolicy.over(space, levels=1)), tmp_path / "policy.json")
    header = json.loads((tmp_path / "policy.json").read_text())
    assert header["settings"] == {"table": "space", "strengths": 31, "levels": 1, "ops_per_image": 1, "floor": 0.1}
    half = {"probability": 0.5, "probabilities": [0.5]}
    assert header["ops"] == [
        {"name": "identity", **half, "strength": 0.0, "unit": "none", "bound": 0.0},
        {"name": "rotation", **half, "strength": 15.0, "unit": "degrees", "bound": 30.0},
    ]


def test_only_known_kinds_are_saved(tmp_path: Path) -> None:
    class Own(RangePolicy):
        kind = "own"

    with pytest.raises(ValueError, match=r"expected a policy of kind range, interval, mixture, .*, found Own"):
        save_policy(AugNet(SPACE, Own(SPACE.bounds)), tmp_path / "policy.json")
    assert not os.listdir(tmp_path)


def test_the_two_files_may_be_renamed_and_moved_together(path: Path, tmp_path: Path) -> None:
    net = load_policy(path)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path.rename(folder / "best.v2.json")
    path.with_suffix(".safetensors").rename(folder / "best.v2.safetensors")
    assert load_policy(folder / "best.v2.json").describe() == net.describe()


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_nothing_is_unpickled(path: Path, tmp_path: Path, suffix: str) -> None:
    mark = tmp_path / "mark"
    torch.save({"theta": Payload(mark)}, path.with_suffix(suffix))
    with pytest.raises(ValueError, match="policy"):
        load_policy(path)
    path.with_suffix(suffix).write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(ValueError, match="policy"):
        load_policy(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda header: header.update(version=3),
            "of version 3, this augfluence reads version 1 and 2; install the rel",
        ),
        (lambda header: header.pop("version"), "of version None"),
        (lambda header: header.update(format="other"), 'not a policy file, expected "format": "augfluence-policy"'),
        (lambda header: header.pop("format"), "not a policy file, expected"),
        (lambda header: header.pop("ops"), "not a complete policy file .*no 'ops'"),
        (lambda header: header.pop("settings"), "not a complete policy file .*no 'settings'"),
        (
            lambda header: header.update(policy="magic"),
            "unknown kind of policy 'magic', known are range, interval, mixture",
        ),
        (lambda header: header.update(policy="mixture"), "not a complete policy file .*no 'levels'"),
        (lambda header: header.update(policy=["range"]), "not a complete policy file"),
        (lambda header: header.update(interpolation="cubic"), "unknown interpolation 'cubic'"),
        (lambda header: header.update(ops="rotation"), "not a complete policy file"),
        (lambda header: header.update(bounds=["rotation"]), "not a complete policy file"),
        (lambda header: header.update(bounds={}), "not a complete policy file .*at least one op"),
        (lambda header: header.update(ops=[]), "the ops are  here, expected rotation, scale, hue"),
        (lambda header: header["ops"].pop(), "the ops are rotation, scale here, expected rotation, scale, hue"),
        (lambda header: header["ops"][0].pop("half_width"), "not a complete policy file .*half_width"),
        (lambda header: header["ops"][0].update(half_width="wide"), "not a complete policy file .*'wide'"),
        (lambda header: header["ops"][0].update(name="twist"), "the ops are twist, scale, hue here, expected rotation"),
        (
            lambda header: header["ops"][0].update(unit="radians"),
            "unit of rotation is radians here and degrees under b",
        ),
        (lambda header: header["ops"][0].update(half_width=12.0), "half_width of rotation is 12.0 here and .* edited"),
        (
            lambda header: header["ops"][1].update(bound=0.5),
            "bound of scale is 0.5 here and 0.7 under bounds: .* edited",
        ),
        (
            lambda header: header["bounds"].update(scale=0.5),
            "bound of scale is 0.7 here and 0.5 under bounds: .* edited",
        ),
        (lambda header: header["bounds"].update(scale=-1), "not a complete policy file .*must be > 0"),
        (lambda header: header["bounds"].update(scale=10**400), "not a complete policy file .*too large"),
        (lambda header: header["settings"].update(warp=1), "not a complete policy file .*unknown settings warp"),
        (lambda header: header["bounds"].update(twist=1), "not a complete policy file .*unknown op 'twist'"),
    ],
)
def test_edited_headers(path: Path, edit: Callable[[Header], object], message: str) -> None:
    rewrite(path, edit)
    with pytest.raises(ValueError, match=message) as error:
        load_policy(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe\x00"])
def test_files_that_are_no_policy(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"policy\.json: not a policy file"):
        load_policy(path)


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_truncated_parameters(path: Path, kept: int) -> None:
    weights = path.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"policy\.json: not a complete policy file"):
        load_policy(path)


def test_parameters_of_another_policy(path: Path, tmp_path: Path) -> None:
    save_policy(learned("rotation", "scale", "hue", seed=1), tmp_path / "other.json")
    shutil.copy(tmp_path / "other.safetensors", path.with_suffix(".safetensors"))
    with pytest.raises(ValueError, match=r"half_width of rotation .* not of the same policy"):
        load_policy(path)


@pytest.mark.parametrize("names", [["theta"], ["bounds"], ["theta", "bounds", "extra"]])
def test_other_parameters(path: Path, names: list[str]) -> None:
    save_file({name: torch.tensor([90.0, 0.7, 60.0]) for name in names}, path.with_suffix(".safetensors"))
    with pytest.raises(ValueError, match=r"policy\.json: not a complete policy file"):
        load_policy(path)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_missing_files(path: Path, suffix: str) -> None:
    path.with_suffix(suffix).unlink()
    with pytest.raises(FileNotFoundError, match=rf"policy\{suffix}"):
        load_policy(path)


def test_a_folder_in_place_of_a_file(path: Path) -> None:
    for suffix in (".safetensors", ".json"):
        file = path.with_suffix(suffix)
        file.unlink()
        file.mkdir()
        with pytest.raises(ValueError, match=rf"policy{suffix}: expected a file of a policy, found a folder"):
            load_policy(path)


def test_parameters_that_are_none(path: Path) -> None:
    save_file({"theta": torch.zeros(3, dtype=torch.int64)}, path.with_suffix(".safetensors"))
    with pytest.raises(ValueError, match="no parameters in the"):
        load_policy(path)


@pytest.mark.parametrize("name", ["policy", "policy.safetensors", "policy.yaml"])
def test_other_endings(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a policy file ending in .json, found '.*policy"):
        load_policy(tmp_path / name)
    with pytest.raises(ValueError, match=r"expected a policy file ending in .json, found '.*policy"):
        save_policy(learned("hue"), tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("function", "failing_call"), [("fsync", 1), ("fsync", 2), ("replace", 1)])
def test_a_full_disk_leaves_the_old_policy(
    path: Path, monkeypatch: pytest.MonkeyPatch, function: str, failing_call: int
) -> None:
    before, real, calls = contents(path.parent), getattr(os, function), 0

    def full(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        save_policy(learned("rotation", seed=1), path)
    assert contents(path.parent) == before
    assert load_policy(path).space.names == ("rotation", "scale", "hue")


def test_a_crash_between_the_two_renames_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.replace, 0

    def dying(*args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        save_policy(learned("rotation", "scale", "hue", seed=1), path)
    with pytest.raises(ValueError, match="not of the same policy"):
        load_policy(path)
    assert sorted(contents(path.parent)) == ["policy.json", "policy.safetensors"]


def test_a_policy_of_version_1_can_be_read() -> None:
    """`golden/policy.json` was written by `save_policy` at version 1 and is never written again."""
    loaded = load_policy(GOLDEN / "policy.json")
    assert loaded.space.interpolation == "bilinear"
    assert loaded.policy.theta.tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert loaded.describe() == {
        "rotation": {"half_width": 5.36413, "unit": "degrees", "bound": 45.0},
        "translate_x": {"half_width": 0.0537883, "unit": "fraction of the shorter side", "bound": 0.2},
        "scale": {"half_width": 0.25, "unit": "octaves", "bound": 0.5},
        "contrast": {"half_width": 0.731059, "unit": "stops", "bound": 1.0},
        "hue": {"half_width": 26.4239, "unit": "degrees", "bound": 30.0},
    }


@FORMER
@pytest.mark.parametrize("kind", of_every_kind())
def test_policies_of_version_2_can_be_read(kind: str) -> None:
    """`golden/version_2/` was written by `save_policy` at version 2 and is never written again."""
    path = GOLDEN / "version_2" / f"{kind}.json"
    written, tensors = path.read_text(), load_file(path.with_suffix(".safetensors"))
    loaded = load_policy(path)
    for former, name in FORMER_NAMES.items():
        written = written.replace(f'"{former}"', f'"{name}"')
    header = json.loads(written)
    assert header["version"] == 2
    assert type(loaded.policy) is POLICIES[header["policy"]]
    assert loaded.policy.config() == header["settings"]
    settled = loaded.space.config()
    assert settled == {name: header[name] for name in settled}
    for name, tensor in loaded.policy.state_dict().items():
        assert torch.equal(tensor, tensors[name])
    for op, facts in zip(header["facts" if kind == "field" else "ops"], loaded.describe().items(), strict=True):
        assert op["name"] == facts[0]
        for fact, value in facts[1].items():
            assert op[fact] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5))


@FORMER
def test_meaning_of_the_parameters_of_version_2() -> None:
    """Numbers worked out by hand from what the golden files hold."""
    folder = GOLDEN / "version_2"
    by_class = load_policy(folder / "class_conditional.json").policy
    expected = torch.tensor([45.0, 0.5, 0.25]) / (1 + torch.exp(-by_class.theta))
    torch.testing.assert_close(by_class.half_widths(), expected)
    conditional = load_policy(folder / "conditional.json").policy
    half_widths, _ = conditional.intervals(torch.full((1, 3, 6, 6), 0.5), torch.tensor([1]))
    logits = conditional.encoder(torch.full((1, 3, 6, 6), 0.5), torch.tensor([1]))[0, :3]
    torch.testing.assert_close(half_widths[0], torch.tensor([45.0, 0.5, 0.25]) * torch.sigmoid(logits))
    mixture = load_policy(folder / "mixture.json").policy
    share = mixture.op_logits.softmax(dim=0)
    torch.testing.assert_close(mixture.probabilities().sum(dim=1), 0.8 * share + 0.2 / 4)
    assert VERSION == 2  # a change of the format needs golden files of its own


def test_broken_policy_does_not_replace_a_good_one(tmp_path: Path) -> None:
    augnet = AugNet.from_ops({"rotation": 45.0})
    save_policy(augnet, tmp_path / "policy.json")
    before = (tmp_path / "policy.safetensors").read_bytes()
    with torch.no_grad():
        augnet.policy.theta.fill_(float("nan"))
    with pytest.raises(ValueError, match="holds NaN"):
        save_policy(augnet, tmp_path / "policy.json")
    assert (tmp_path / "policy.safetensors").read_bytes() == before
