"""Differentiable image augmentation whose strength can be learned."""

from augnet.field_space import FieldSpace
from augnet.network import AugNet
from augnet.policies import (
    ClassConditionalPolicy,
    ConditionalPolicy,
    FieldPolicy,
    IntervalPolicy,
    MixturePolicy,
    RangePolicy,
)
from augnet.policy_file import load_policy, save_policy
from augnet.space import TransformSpace

__all__ = [
    "AugNet",
    "ClassConditionalPolicy",
    "ConditionalPolicy",
    "FieldPolicy",
    "FieldSpace",
    "IntervalPolicy",
    "MixturePolicy",
    "RangePolicy",
    "TransformSpace",
    "load_policy",
    "save_policy",
]
