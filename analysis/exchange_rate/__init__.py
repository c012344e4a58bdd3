"""How many real images an augmentation is worth (Geiping et al., 2023)."""

from .learning_curve import LearningCurve
from .power_law import Fit, PowerLaw, fit_power_law
from .rate import Rate, exchange_rate, exchange_rates

__all__ = ["Fit", "LearningCurve", "PowerLaw", "Rate", "exchange_rate", "exchange_rates", "fit_power_law"]
