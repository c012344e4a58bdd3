"""The table of ops in docs/policies.md; its code is run in `test_docs`."""

import re
from pathlib import Path

from augnet.ops import OPS

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def test_the_table_of_ops_is_that_of_the_program() -> None:
    rows = re.findall(
        r"^\| `(\w+)`( \(RGB\))? \| (.+?) \| (.+?) \| (.+?)( \(straight-through\))? \|$", PAGE.read_text(), re.M
    )
    said = {name: (unit, float(bound), meaning, bool(rgb), bool(st)) for name, rgb, unit, bound, meaning, st in rows}
    expected = {
        op.name: (op.unit, op.bound, op.meaning, op.needs_rgb, op.gradient == "straight-through") for op in OPS.values()
    }
    assert {name: facts for name, facts in said.items() if name in OPS} == expected
    assert list(expected) == [name for name in said if name in OPS]
