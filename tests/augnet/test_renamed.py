"""Names of version 0.1.0: one warning each time they are used, and the op that they named."""

import json
from pathlib import Path

import pytest

import augnet.ops
from augnet import TransformSpace, load_policy
from augnet.ops import OPS, find_op
from augnet.ops.registry import FORMER_NAMES
from augnet.policies import POLICIES

VERSION_2 = Path(__file__).parent / "golden" / "version_2"


def test_a_former_name_is_that_of_an_op_that_has_another_name_now() -> None:
    assert not FORMER_NAMES.keys() & OPS.keys()
    for former, name in FORMER_NAMES.items():
        with pytest.warns(DeprecationWarning, match=f"{former}.* is '{name}'") as warned:
            assert find_op(former) is OPS[name]
        assert len(warned) == 1


def test_a_space_takes_former_names_with_their_bounds_and_warns_once() -> None:
    with pytest.warns(DeprecationWarning, match="'solarise' is 'solarize', 'posterise' is 'posterize'") as warned:
        space = TransformSpace({"solarise": 0.25, "rotation": 10.0, "posterise": 3.0})
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert space.config()["bounds"] == {"rotation": 10.0, "posterize": 3.0, "solarize": 0.25}
    with pytest.warns(DeprecationWarning, match="grayscale"):
        assert TransformSpace(["grey"]).names == ("grayscale",)
    with (
        pytest.raises(ValueError, match="each op may be given once"),
        pytest.warns(DeprecationWarning, match="grayscale"),
    ):
        TransformSpace(["grey", "grayscale"])


@pytest.mark.parametrize("file", sorted(VERSION_2.glob("*.json")), ids=lambda file: file.stem)
def test_a_policy_file_with_former_names_loads_with_one_warning(file: Path) -> None:
    header = json.loads(file.read_text())
    former = FORMER_NAMES.keys() & header.get("bounds", {}).keys()
    assert former or header["policy"] == "field"
    if former:
        with pytest.warns(DeprecationWarning, match="spelled as in torchvision") as warned:
            augnet_ = load_policy(file)
        assert len(warned) == 1
        assert set(augnet_.space.names) >= {FORMER_NAMES[name] for name in former}
    else:
        augnet_ = load_policy(file)
    assert type(augnet_.policy) is POLICIES[header["policy"]]


def test_the_class_of_color_ops_has_its_former_name_too() -> None:
    with pytest.warns(DeprecationWarning, match="ColorOp now"):
        assert augnet.ops.ColourOp is augnet.ops.ColorOp
    with pytest.raises(AttributeError, match="no attribute 'GreyOp'"):
        augnet.ops.GreyOp  # noqa: B018
