"""The score function: the gradient of an expected cost from draws alone, without a gradient through the cost."""

from torch import Tensor


def score_function(log_probs: Tensor, costs: Tensor) -> Tensor:
    """A scalar whose gradient is an unbiased estimate of the gradient of the expected cost.

    `mean_i (c_i - b_i) log p_i` (Williams, 1992). The baseline `b_i` is the mean of the other costs (Kool et al.,
    2019): it takes away variance and adds no bias. A single draw has none.

    Args:
        log_probs: Log-probability of each draw `[B]`; carries gradient.
        costs: What each draw cost `[B]`; constants.
    """
    costs = costs.detach()
    count = len(costs)
    if count > 1:
        costs = (costs - costs.mean()) * (count / (count - 1))
    return (costs * log_probs).mean()
