"""The exchange rates of several policies as plain values, for files, tables and figures."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .learning_curve import LearningCurve
from .rate import Rate, exchange_rates


def summarize_worth(
    curves: Mapping[str, LearningCurve], reference: str, confidence: float = 0.95, draws: int = 1000
) -> dict[str, Any]:
    """Return curves, fits and exchange rates.

    Args:
        curves: By policy, as many seeds each, at least three sizes each.
        reference: The one without augmentation.
        confidence: Of the intervals, in (0, 1).
        draws: Resamples behind each interval.

    Returns:
        `curves` by policy and `rates` by policy but the reference. Infinite numbers are None, with `infinite`,
        `low_infinite` or `high_infinite` true.
    """
    return {
        "curves": {name: _curve_facts(curve) for name, curve in curves.items()},
        "rates": {
            name: [_rate_facts(rate) for rate in exchange_rates(curves[reference], curve, confidence, draws)]
            for name, curve in curves.items()
            if name != reference
        },
    }


def _curve_facts(curve: LearningCurve) -> dict[str, Any]:
    fit = curve.fit()
    return {
        "sizes": curve.sizes,
        "accuracies": curve.values().tolist(),
        "fit": asdict(fit.law),
        "residual": fit.residual,
        "lack_of_fit": curve.lack_of_fit(),
    }


def _rate_facts(rate: Rate) -> dict[str, Any]:
    facts = asdict(rate)
    for name, flag in (("value", "infinite"), ("low", "low_infinite"), ("high", "high_infinite")):
        infinite = facts[name] is not None and math.isinf(facts[name])
        facts |= {flag: infinite, name: None if infinite else facts[name]}
    return facts
