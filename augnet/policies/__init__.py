"""Distributions over op magnitudes and the registry of their names in policy files."""

from collections.abc import Mapping
from types import MappingProxyType

from augnet.policies.base import Policy
from augnet.policies.conditional import ConditionalPolicy
from augnet.policies.field import FieldPolicy
from augnet.policies.mixture import MixturePolicy
from augnet.policies.ranges import ClassConditionalPolicy, IntervalPolicy, RangePolicy, RangeTable

_KINDS = (RangePolicy, IntervalPolicy, MixturePolicy, ConditionalPolicy, ClassConditionalPolicy, FieldPolicy)
POLICIES: Mapping[str, type[Policy]] = MappingProxyType({policy.kind: policy for policy in _KINDS})

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
