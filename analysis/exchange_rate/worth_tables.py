"""Tables of exchange rates and the notes that qualify them."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from ..text_table import TextTable

TITLES = {"in_domain": "validation images", "corrupted": "corrupted images"}
LEGEND = (
    "Worth is the power laws' answer, with its interval over the seeds; * is extrapolated, above the largest accuracy "
    "measured without augmentation. Interpolated is the answer of straight lines between measured means."
)
_LACK_OF_FIT = 0.05  # level of the F test


def worth_tables(summary: Mapping[str, Any]) -> list[TextTable]:
    """Return the tables of accuracy and worth on each kind of images, and of accuracy under each corruption.

    Args:
        summary: `in_domain` and, if there are any, `corrupted`, both from `summarize_worth`; `corruptions`: accuracy
            by corruption, policy and size.
    """
    worths = [_worth(summary[name], title) for name, title in TITLES.items() if name in summary]
    return worths + ([_corruptions(summary)] if summary["corruptions"] else [])


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Return the notes to the tables: the meaning of their words, and the curves that are no power laws."""
    fits = [(title, note) for name, title in TITLES.items() if name in summary for note in poor_fits(summary[name])]
    return [LEGEND, *(f"{title.capitalize()}: {note}" for title, note in fits)]


def rate_text(point: Mapping[str, Any]) -> str:
    """Return an exchange rate with its interval, marked if it is extrapolated."""
    value, low, high = (
        "infinite" if infinite else None if point[name] is None else f"{round(point[name]):+,}"
        for name, infinite in (
            ("value", point["infinite"]),
            ("low", point["low_infinite"]),
            ("high", point["high_infinite"]),
        )
    )
    interval = f" ({low} to {high})" if low and high else ""
    return f"{value}{interval}{' *' * point['extrapolated']}"


def interpolated_text(point: Mapping[str, Any]) -> str:
    """Return an exchange rate without power laws."""
    return "-" if point["interpolated"] is None else f"{round(point['interpolated']):+,}"


def worth_cells(measure: Mapping[str, Any], arm: str, index: int) -> list[str]:
    """Return accuracy in percent, worth and interpolated worth of a policy at its size of this index."""
    accuracy = f"{100 * fmean(measure['curves'][arm]['accuracies'][index]):.1f}"
    points = measure["rates"].get(arm)
    return [accuracy, *(["-", "-"] if points is None else [rate_text(points[index]), interpolated_text(points[index])])]


def poor_fits(measure: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each curve that is no power law.

    Args:
        measure: From `summarize_worth`.
    """
    return [
        f"the curve of {arm} is no power law (residual {100 * curve['residual']:.1f} points, "
        f"p = {curve['lack_of_fit']:.2g}): trust the interpolated rates more, or train longer."
        for arm, curve in measure["curves"].items()
        if curve["lack_of_fit"] is not None and curve["lack_of_fit"] < _LACK_OF_FIT
    ]


def _worth(measure: Mapping[str, Any], title: str) -> TextTable:
    rows = [
        [arm, f"{size:,}", *worth_cells(measure, arm, index)]
        for arm, curve in measure["curves"].items()
        for index, size in enumerate(curve["sizes"])
    ]
    header = ["policy", "images", "accuracy, %", "worth in images", "interpolated"]
    return TextTable(f"Worth in extra real images, on {title}", header, rows)


def _corruptions(summary: Mapping[str, Any]) -> TextTable:
    """Return the accuracies under each corruption at the largest size that all policies share."""
    corruptions = summary["corruptions"]
    arms = next(iter(corruptions.values()))
    size = max(set.intersection(*(set(map(int, sizes)) for sizes in arms.values())), default=None)
    rows = [
        [arm, *(f"{100 * by_arm[arm][str(size)]:.1f}" for by_arm in corruptions.values())]
        for arm in (arms if size is not None else [])
    ]
    names = [name.replace("_", " ") for name in corruptions]
    return TextTable(f"Accuracy in % under each corruption, {size or 0:,} images", ["policy", *names], rows)
