"""Distributions over op magnitudes, one file per kind."""

from augnet.policies.base import Policy
from augnet.policies.ranges import RangePolicy

__all__ = ["Policy", "RangePolicy"]
