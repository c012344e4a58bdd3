"""How many real images an augmentation is worth (Geiping et al., 2023)."""

from analysis.exchange_rate.learning_curve import LearningCurve
from analysis.exchange_rate.power_law import Fit, PowerLaw, fit_power_law
from analysis.exchange_rate.rate import Rate, exchange_rate, exchange_rates

__all__ = ["Fit", "LearningCurve", "PowerLaw", "Rate", "exchange_rate", "exchange_rates", "fit_power_law"]
