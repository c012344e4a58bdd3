"""The section that compares the runs with their controls and baselines, and its summary in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ..run_folder import OpenedRun
from ..statistics import Interval, over_seeds, wilson
from .accuracy import ArmAccuracies, ArmName, Summary, gather
from .blocks import DASH, Block, Picture, Section, Table, Text, fixed, listed, signed
from .drawing import drawing
from .page_figures import intervals

_TITLE = "Accuracy, controls and baselines"
_SEEDS_ASKED = 5
_FREE = ("seed_everything", "run", "ckpt_path", "config")  # may differ between runs of one setting
_MEANING = {
    "learned": "the run itself, with the policy that it learned",
    "plain": "no learned policy",
    "uniform": "the same ops, uniform up to their bounds",
    "shuffled": "a policy learned with the influence shuffled over the images",
    "flipped": "a policy learned with the sign of the influence flipped",
    "identity_hessian": "a policy learned without the curvature",
    "wrong_domain": "a policy learned from an influence set of the wrong domain",
}


def arms_of(runs: Sequence[OpenedRun], summaries: Sequence[Summary | None]) -> ArmAccuracies:
    """Collect the arms of all runs that have a summary; further settings get the names of their runs.

    Raises:
        ValueError: If two runs of one setting have the same arm and seed.
    """
    named = _settings(runs)
    return gather([(one, name) for one, name in zip(summaries, named, strict=True) if one is not None])


def comparison(arms: ArmAccuracies, runs: Sequence[OpenedRun], summaries: Sequence[Summary | None]) -> Section:
    """Return the section on the arms of all runs; `summaries` are those of the runs, None where there is none yet."""
    untested = [str(run.folder) for run, one in zip(runs, summaries, strict=True) if one is None]
    missing = None
    if untested:
        missing = (
            f"{listed(untested)}: no summary.json. The run has not ended, or was not tested (run.test false). To go on "
            f"with it: python train.py fit --config {untested[0]}/config.yaml --ckpt_path "
            f"{untested[0]}/checkpoints/last.ckpt"
        )
    blocks = _blocks(arms, count_tested(runs)) if arms.by_seed else []
    return Section("accuracy", _TITLE, blocks + _of_several_labels(runs, summaries), missing)


def _of_several_labels(runs: Sequence[OpenedRun], summaries: Sequence[Summary | None]) -> list[Block]:
    """Return the mean average precision of each arm of each run, where an image may have several labels."""
    tested = [(name, one) for name, one in zip(names_of(runs), summaries, strict=True) if one and one.precision]
    if not tested:
        return []
    rows = [[name, arm, fixed(100 * value, 1)] for name, one in tested for arm, value in one.precision.items()]
    note = (
        "An image may have several labels. The accuracies are the shares of all single decisions, for an image and a "
        "class at a probability of 1/2, that are right: where labels are rare, a classifier that finds none is right "
        "most of the time. The average precision ranks the images for each class and needs no threshold; the mean is "
        "over the classes that test images show."
    )
    columns = ["Run", "Arm", "Mean average precision, %"]
    return [Table("Mean average precision on the test images", columns, rows, frozenset({0, 1})), Text(note, note=True)]


def _blocks(arms: ArmAccuracies, tested: Mapping[str, int]) -> list[Block]:
    found = {arm: _interval(seeds, tested[arm.setting]).times(100) for arm, seeds in arms.by_seed.items()}
    said = "; ".join(f"{arm} {_range(interval)}" for arm, interval in found.items())
    figure = intervals({str(arm): interval for arm, interval in found.items()}, "test accuracy, %")
    plot = drawing(figure, "accuracy", f"Test accuracy in percent of each arm with its 95 % interval: {said}.")
    columns = ["Arm", "Accuracy, %", "Interval", "Seeds", "Minus plain", "Its interval", "Time, s"]
    rows = []
    for arm, interval in found.items():
        difference, times = arms.difference(arm), arms.seconds.get(arm)
        points = None if difference is None else difference[0].times(100)
        against = [DASH, DASH] if points is None else [signed(points.value), _bounds(points, True)]
        row = [str(arm), f"{interval.value:.1f}", _bounds(interval), str(len(arms.by_seed[arm]))]
        rows.append([*row, *against, f"{fmean(times):,.0f}" if times else DASH])
    names = dict.fromkeys(arm.name for arm in found)
    known = "; ".join(f"{name}: {_MEANING[name]}" for name in names if name in _MEANING)
    return [
        Picture(plot, "Test accuracy; the lines are 95 % intervals."),
        Table("Test accuracy, differences in points, and 95 % intervals", columns, rows),
        Text(f"{_method(arms, tested)} {known}." if known else _method(arms, tested), note=True),
    ]


def _method(arms: ArmAccuracies, tested: Mapping[str, int]) -> str:
    alone = any(len(seeds) == 1 for seeds in arms.by_seed.values())
    several = any(len(seeds) > 1 for seeds in arms.by_seed.values())
    whose = "All arms" if len(tested) == 1 else "The arms of each setting"
    words = [f"{whose} are trained with the same data and, in pairs, the same seeds."]
    if several:
        words.append("Intervals over seeds are Student's t; differences are paired by seed.")
    if alone:
        counts = listed([f"{count:,}" for count in dict.fromkeys(tested.values())])
        words.append(
            f"The interval of a single seed is Wilson's, from {counts} test images: it holds for other test images of "
            "the same kind, not for other seeds."
        )
    return " ".join(words)


def sentences(arms: ArmAccuracies, tested: Mapping[str, int]) -> list[str]:
    """Return the comparison in sentences; `tested` are the test images of each setting."""
    said = []
    for arm in arms.own:
        values = list(arms.by_seed[arm].values())
        seeds = f", mean of {len(values)} seeds" if len(values) > 1 else ""
        accuracy = f"{100 * over_seeds(values).value:.1f} % on {tested[arm.setting]:,} test images"
        said.append(f"Test accuracy ({arm}): {accuracy}{seeds}.")
        for reference in ("plain", "uniform"):
            found = arms.difference(arm, reference)
            if found is not None:
                other = over_seeds(list(arms.by_seed[ArmName(reference, arm.setting)].values())).value
                said.append(_compared(arm, f"{reference} ({100 * other:.1f} %)", *found))
    return said


def precision_sentence(summaries: Sequence[Summary | None]) -> list[str]:
    """Return the mean average precision of the arms of one run in a sentence; none of several runs, or of one label."""
    found = summaries[0].precision if len(summaries) == 1 and summaries[0] else {}
    values = listed([f"{arm} {100 * value:.1f} %" for arm, value in found.items()])
    return [f"Mean average precision on the test images: {values}."] if found else []


def caveat(arms: ArmAccuracies) -> str | None:
    """Return the caveat of a comparison of few seeds; None with enough seeds."""
    if arms.seeds >= _SEEDS_ASKED:
        return None
    count, known = ("one seed", "not known") if arms.seeds == 1 else (f"{arms.seeds} seeds", "hardly known")
    return (
        f"This is {count}: how far another seed would move these numbers is {known}. Before relying on them, train at "
        f"least {_SEEDS_ASKED} seeds (--seed_everything) and give all runs to this report."
    )


def _compared(arm: ArmName, reference: str, found: Interval, seeds: int) -> str:
    words = f"{str(arm).capitalize()} minus {reference}: {signed(100 * found.value)} points"
    if found.low is None or found.high is None:
        return f"{words}."
    where = "clearly above zero" if found.low > 0 else "clearly below zero" if found.high < 0 else "which includes zero"
    return f"{words} over {seeds} paired seeds (95 % interval {_bounds(found.times(100), True)}, {where})."


def _interval(seeds: Mapping[int, float], tested: int) -> Interval:
    values = list(seeds.values())
    if len(values) == 1:
        return wilson(values[0], tested)
    mean, low, high = over_seeds(values)
    return Interval(mean, None if low is None else max(low, 0.0), None if high is None else min(high, 1.0))


def _bounds(found: Interval, sign: bool = False) -> str:
    if found.low is None or found.high is None:
        return DASH
    low, high = (signed(bound) if sign else fixed(bound, 1) for bound in (found.low, found.high))
    return f"{low} to {high}"


def _range(found: Interval) -> str:
    return f"{found.value:.1f}" + ("" if found.low is None else f" ({_bounds(found)})")


def count_tested(runs: Sequence[OpenedRun]) -> dict[str, int]:
    """Count the test images of the runs of each setting; their labels are not read."""
    first = dict(zip(reversed(_settings(runs)), reversed(runs), strict=True))
    return {setting: len(run.data.test_dataloader().dataset) for setting, run in first.items()}  # type: ignore[arg-type]


def names_of(runs: Sequence[OpenedRun]) -> list[str]:
    """Return the name of each run, or its folder if two runs share a name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _settings(runs: Sequence[OpenedRun]) -> list[str]:
    """Return a name for the setting of each run: that of its first run; empty if all runs share one setting."""
    settings = [repr(_setting(run.config)) for run in runs]
    first = dict(zip(reversed(settings), reversed(names_of(runs)), strict=True))
    return [first[setting] if len(first) > 1 else "" for setting in settings]


def _setting(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that runs must share to be averaged: all but seed, name and control."""
    kept = {name: value for name, value in config.items() if name not in _FREE}
    model = {name: value for name, value in (kept.get("model") or {}).items() if name != "control"}
    data = dict(kept.get("data") or {})
    data["init_args"] = {k: v for k, v in (data.get("init_args") or {}).items() if k != "seed"}
    return {**kept, "model": model, "data": data}
