"""The engine of all studies: grid, cache, runner, statistics and pages. It knows no kind of study.

A study is a grid of cells (task, arm, seed). The setting of a cell is what the study's YAML file says under `common`,
overlaid with what it says for the task and for the arm. To add a kind of study, write two dataclasses and a `KIND`:

    @dataclass(frozen=True, kw_only=True)
    class Sweep(Setting):                     # everything that the result of one run depends on; `seed` is inherited
        data: str
        size: int
        policy: str = "none"

        def run(self, cache: Cache) -> Result:
            ...                               # train; return plain values: {"accuracy": 0.7, "seconds": 12.0}

    @dataclass(frozen=True)
    class SweepReport(Report):                # the options of the page
        confidence: float = 0.95

        def page(self, study: Study, results: Results) -> Page:
            ...                               # Markdown parts, figures, further numbers for the JSON file

    KIND = Kind(Sweep, SweepReport)           # in studies/kinds/sweep.py: `kind: sweep` in a YAML file finds it

A page that is one table a task, a row an arm and a column a number needs no class: `TableReport` has its columns from
the YAML file.

Inside `run`, `cache.files(self)` is an empty folder for what the run leaves beside its result (weights, a run of
`train.py fit`), and `cache.obtain(other)` is the result of another setting, of this kind or another one, which is
trained first if it is missing: a run that needs other runs asks for them.

The result is kept under `Setting.key`, a hash of the class's name, its `version` and all fields. Override
`Setting.content` where the result depends on more, such as the content of a file. Raise the class variable `version`
when the same fields give another result. Data sets are named relative to one folder: `studies.data_location`.

Kinds that train image classifiers share `studies.training` (how a classifier is trained, tested and asked for its
predictions) and `studies.corruptions`; intervals over seeds are those of `analysis.statistics`.

`python -m studies NAME` reads studies/NAME.yaml (`read_study`), makes the runs that are missing (`train`) and writes
NAME.json, NAME.md and pictures (`write_results`) into studies/results.
"""

from studies.engine.cache import Cache
from studies.engine.report import Page, Report
from studies.engine.results import read_results, write_results
from studies.engine.runner import train
from studies.engine.setting import Result, Setting
from studies.engine.study import Arm, Cell, Kind, Results, Study, by_arm
from studies.engine.table_report import Column, TableReport
from studies.engine.yaml_file import read_study

__all__ = [
    "Arm",
    "Cache",
    "Cell",
    "Column",
    "Kind",
    "Page",
    "Report",
    "Result",
    "Results",
    "Setting",
    "Study",
    "TableReport",
    "by_arm",
    "read_results",
    "read_study",
    "train",
    "write_results",
]
