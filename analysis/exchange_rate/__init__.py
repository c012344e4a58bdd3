"""The exchange rate: the worth of an augmentation in real images (Geiping et al., 2023).

Background: `docs/method.md`, "Exchange rate". Reads measured accuracies; `python -m studies exchange_rate` makes them.
"""

from .learning_curve import LearningCurve
from .power_law import Fit, PowerLaw, fit_power_law
from .rate import Rate, exchange_rate, exchange_rates, summarize_worth

__all__ = [
    "Fit",
    "LearningCurve",
    "PowerLaw",
    "Rate",
    "exchange_rate",
    "exchange_rates",
    "fit_power_law",
    "summarize_worth",
]
