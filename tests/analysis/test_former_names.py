"""Names of 0.1.0 that were spelled otherwise still work, and say their new spelling."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("module", "former", "name"),
    [
        ("analysis.moments", "explicit_regulariser", "explicit_regularizer"),
        ("analysis.class_effects", "categorise", "categorize"),
        ("analysis.landscape", "summarise", "summarize"),
    ],
)
def test_former_names_are_the_present_ones(module: str, former: str, name: str) -> None:
    found = import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{former} is {name} now"):
        assert getattr(found, former) is getattr(found, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = found.nothing
