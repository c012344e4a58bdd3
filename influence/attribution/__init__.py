"""Scores of training samples: influence on a held-out loss, self-influence, and a mislabel score."""

from influence.attribution.scores import Attribution, attribute
from influence.attribution.self_influence import (
    ResponseMethod,
    SelfResponse,
    leave_one_out_logits,
    self_influence,
)

__all__ = ["Attribution", "ResponseMethod", "SelfResponse", "attribute", "leave_one_out_logits", "self_influence"]
