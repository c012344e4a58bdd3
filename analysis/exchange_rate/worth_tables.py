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

    A summary has `in_domain` and, if there are any, `corrupted`, both from `summarize_worth`, and `corruptions`:
    accuracy by corruption, policy and size.
    """
    worths = [_worth(summary[name], title) for name, title in TITLES.items() if name in summary]
    return worths + ([_corruptions(summary)] if summary["corruptions"] else [])


def notes(summary: Mapping[str, Any]) -> list[str]:
    """Return the notes to the tables: the meaning of their words, and the curves that are no power laws."""
    fits = [(title, note) for name, title in TITLES.items() if name in summary for note in poor_fits(summary[name])]
    return [LEGEND, *(f"{title.capitalize()}: {note}" for title, note in fits)]


def rate_text(point: Mapping[str, Any]) -> str:
    """Return an exchange rate with its interval, marked if it is extrapolated."""
    flags = {"value": "infinite", "low": "low_infinite", "high": "high_infinite"}
    value, low, high = (
        "infinite" if point[flag] else None if point[name] is None else f"{round(point[name]):+,}"
        for name, flag in flags.items()
    )
    interval = f" ({low} to {high})" if low and high else ""
    return f"{value}{interval}{' *' * point['extrapolated']}"


def poor_fits(measure: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each curve of `summarize_worth` that is no power law."""
    return [
        f"the curve of {arm} is no power law (residual {100 * curve['residual']:.1f} points, "
        f"p = {curve['lack_of_fit']:.2g}): trust the interpolated rates more, or train longer."
        for arm, curve in measure["curves"].items()
        if curve["lack_of_fit"] is not None and curve["lack_of_fit"] < _LACK_OF_FIT
    ]


def _worth(measure: Mapping[str, Any], title: str) -> TextTable:
    rows = []
    for arm, curve in measure["curves"].items():
        points = measure["rates"].get(arm, [None] * len(curve["sizes"]))  # the reference has none
        for size, accuracies, point in zip(curve["sizes"], curve["accuracies"], points, strict=True):
            worth = "-" if point is None else rate_text(point)
            interpolated = None if point is None else point["interpolated"]
            lines = "-" if interpolated is None else f"{round(interpolated):+,}"
            rows.append([arm, f"{size:,}", f"{100 * fmean(accuracies):.1f}", worth, lines])
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
