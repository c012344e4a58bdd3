"""The policy file of a field network; what all kinds have in common is in `test_policy_file`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from augnet_images import noise

from augnet import AugNet, load_policy, save_policy

GOLDEN = Path(__file__).parent / "golden" / "version_2" / "field.json"
Header = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a network that was learned on one batch."""
    path, net = tmp_path / "policy.json", AugNet.from_fields(3, 8, 8, "serial", dropout=0.25)
    net.policy.latest.copy_(torch.tensor([1.5, 0.25, 0.125]))
    save_policy(net, path)
    return path


def test_the_json_of_a_field_network_is_what_people_read(path: Path) -> None:
    assert json.loads(path.read_text()) == {
        "format": "augfluence-policy",
        "version": 2,
        "policy": "field",
        "settings": {"dropout": 0.25},
        "channels": 3,
        "height": 8,
        "width": 8,
        "composition": "serial",
        "appearance": True,
        "facts": [
            {"name": "displacement", "value": 1.5, "unit": "pixels"},
            {"name": "appearance", "value": 0.25, "unit": "fraction of the full range"},
            {"name": "saturation", "value": 0.125, "unit": "share of |tau| >= 0.95"},
        ],
    }


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda header: header.pop("facts"), "not a complete policy file .*no 'facts'"),
        (lambda header: header.pop("height"), "not a complete policy file .*no 'height'"),
        (lambda header: header["settings"].pop("dropout"), "not a complete policy file .*no 'dropout'"),
        (lambda header: header["settings"].update(dropout=1), "not a complete policy file .*paper's is 0.5"),
        (lambda header: header.update(height=0), "not a complete policy file .*1x1 pixels, found 3 and 0x8"),
        (lambda header: header.update(composition="both"), "not a complete policy file .*composition: expected one of"),
        (lambda header: header.update(channels=1), "(?s)not a complete policy file .*size mismatch"),
        (lambda header: header.update(appearance=False), "(?s)not a complete policy file .*size mismatch"),
        (lambda header: header["facts"].pop(), "the facts are displacement, appearance here, expected displacement"),
        (lambda header: header["facts"][0].update(value=2.0), "value of displacement is 2.0 here and 1.5 in .* edited"),
        (lambda header: header.update(policy="range"), "not a complete policy file .*no 'interpolation'"),
    ],
)
def test_edited_headers_of_a_field_network(path: Path, edit: Callable[[Header], object], message: str) -> None:
    header = json.loads(path.read_text())
    edit(header)
    path.write_text(json.dumps(header))
    with pytest.raises(ValueError, match=message) as error:
        load_policy(path)
    assert str(error.value).startswith(f"{path}: ")


def test_meaning_of_the_golden_file() -> None:
    """Weight i of each tensor is `((i mod 7) - 3) / 64`."""
    net = load_policy(GOLDEN)
    for parameter in net.parameters():
        expected = (torch.arange(parameter.numel()) % 7 - 3) / 64
        assert torch.equal(parameter.float().flatten(), expected)
    assert (net.policy.dropout, net.space.size, net.space.appearance) == (0.25, (4, 5), True)
    assert net.describe()["displacement"] == {"value": 1.5, "unit": "pixels"}
    images = noise(2, 1, 4, 5, dtype=torch.float32)
    augmented = net(images)
    assert augmented.isfinite().all()
    assert not torch.equal(augmented, images)


def test_a_broken_network_does_not_replace_a_good_one(path: Path) -> None:
    before = path.with_suffix(".safetensors").read_bytes()
    net = load_policy(path)
    net.policy.latest.fill_(float("nan"))
    with pytest.raises(ValueError, match="holds NaN"):
        save_policy(net, path)
    assert path.with_suffix(".safetensors").read_bytes() == before
