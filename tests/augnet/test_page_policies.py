"""The table of ops in docs/policies.md; its code is run in `test_docs`."""

import re
from pathlib import Path

from augnet.ops import OPS

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def test_the_table_of_ops_is_that_of_the_program() -> None:
    section = PAGE.read_text().split("\n## Ops\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`( \(RGB\))? \| (.+?) \| (.+?) \| (.+?)( \(straight-through\))? \|$", section, re.M)
    said = {name: (unit, float(bound), meaning, bool(rgb), bool(st)) for name, rgb, unit, bound, meaning, st in rows}
    expected = {
        op.name: (op.unit, op.bound, op.meaning, op.needs_rgb, op.gradient == "straight-through") for op in OPS.values()
    }
    assert said == expected
    assert list(said) == list(expected)
