"""Intervals in words, for tables."""

from analysis.statistics import Interval


def interval_text(found: Interval | None, digits: int = 1) -> str:
    """Return mean and half the interval, where there is one.

    Example:
        >>> interval_text(Interval(2.0, 1.5, 2.5)), interval_text(Interval(2.0, None, None)), interval_text(None)
        ('2.0 ± 0.5', '2.0', '-')
    """
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ± {(found.high - found.low) / 2:.{digits}f}"


def difference_text(found: Interval | None, digits: int = 1) -> str:
    """Return mean and interval with their signs.

    Example:
        >>> difference_text(Interval(2.0, -0.5, 4.5))
        '+2.0 (-0.5 to +4.5)'
    """
    if found is None:
        return "-"
    value, low, high = ("" if end is None else f"{end:+.{digits}f}" for end in found)
    return f"{value} ({low} to {high})" if low and high else value
