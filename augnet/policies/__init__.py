"""Distributions over op magnitudes, one file per kind, and the registry of their names in policy files."""

from types import MappingProxyType

from augnet.policies.base import Policy, RangeTable
from augnet.policies.class_conditional import ClassConditionalPolicy
from augnet.policies.conditional import ConditionalPolicy
from augnet.policies.field import FieldPolicy
from augnet.policies.intervals import IntervalPolicy
from augnet.policies.mixture import MixturePolicy
from augnet.policies.ranges import RangePolicy

_KINDS: tuple[type[Policy], ...] = (
    RangePolicy,
    IntervalPolicy,
    MixturePolicy,
    ConditionalPolicy,
    ClassConditionalPolicy,
    FieldPolicy,
)
POLICIES = MappingProxyType({policy.kind: policy for policy in _KINDS})

__all__ = [
    "POLICIES",
    "ClassConditionalPolicy",
    "ConditionalPolicy",
    "FieldPolicy",
    "IntervalPolicy",
    "MixturePolicy",
    "Policy",
    "RangePolicy",
    "RangeTable",
]
