"""The objective of a policy: the cost of each augmented image, and the gradient of its mean.

    c_i = b tanh(I_i / (b rms(I)))                                          bounded influence, of typical size 1
        + huber(max(0, ||h~_i - h_i|| / (radius spread) - 1))               trust region in feature space

The policy itself costs `sparsity sum_p w_p / bound_p` (ranges) or `kl KL(mixture, prior)`, once an update.

The influence has no lower bound: it is linear in the features of a confidently wrong image, and its prediction holds
only near the original (at a feature move above the spread of a class the true loss rises while the predicted one goes
on falling). The first line bounds what an image can gain, the second how far it can move.

Axes: B images, D features, K classes. Source of the influence: Lee, Park, Pham and Yoo, CVPR 2020, Eq. 14.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LOSS_SCALE = 2.0**8  # keeps the gradient of one image of 32 to 224 pixels in the middle of the range of float16
_BACKOFF = 2.0**-8
_ATTEMPTS = 4


def bounded(influence: Tensor, size: Tensor, clip: float) -> Tensor:
    """Divide influences `[B]` by their size and bound them to (-clip, clip); carries gradient.

    The size is the root mean square of the influences of the whole batch, a constant.
    """
    return clip * torch.tanh(influence / (clip * size))


def feature_move(original: Tensor, augmented: Tensor, spread: Tensor) -> Tensor:
    """Return the distance `[B]` that each image moved in feature space, in multiples of `feature_spread`.

    Features `[B, D]` of the augmented images carry gradient, those of the originals and the spread are constants.
    """
    tiny = torch.finfo(spread.dtype).tiny
    move = (augmented.to(spread) - original.to(spread)).square().sum(dim=1)
    return (move + tiny).sqrt() / spread  # the root has no gradient at 0


def feature_spread(features: Tensor) -> Tensor:
    """Root mean square distance of features `[B, D]` from their mean, a scalar > 0."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    spread = (features - features.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    return spread.clamp(min=torch.finfo(spread.dtype).eps)


def exceeding(move: Tensor, radius: float) -> Tensor:
    """Cost `[B]` of a move that exceeds the radius; carries gradient.

    With the excess `e` as a share of the radius: `e^2 / 2`, from `e = 1` on `e - 1/2`, so that an untrained classifier,
    whose features hardly differ, does not outweigh the influence.
    """
    excess = (move / radius - 1).clamp(min=0)
    return nn.functional.huber_loss(excess, torch.zeros_like(excess), reduction="none")


def pixel_change(original: Tensor, augmented: Tensor) -> Tensor:
    """Mean squared change of a pixel of each image, `[B]`; carries gradient to `augmented`."""
    return (augmented - original).square().flatten(1).mean(dim=1)


def backward_through_images(costs: Tensor, network_type: torch.dtype, inputs: Sequence[Tensor]) -> None:
    """Accumulate the gradient of the mean cost in the policy's parameters, through the augmented images.

    A network that runs in float16 has a range, 6e-8 to 65504, that is too small for the gradient of a mean over a batch
    at the pixels of an image: it would be zero. The objective is multiplied by a power of two and the result divided by
    it (loss scaling: Micikevicius et al., ICLR 2018, section 3.2); where that overflows, by smaller ones. Other types
    have the range of float32, and nothing is scaled.

    Args:
        costs: `[B]`; carry gradient to `inputs`.
        network_type: Of the network's outputs.
        inputs: Augmented images, and mixed targets, with the graph that leads to the policy; float32 or float64.
    """
    torch.autograd.backward(inputs, _gradients(costs, network_type, inputs))


def _gradients(costs: Tensor, network_type: torch.dtype, inputs: Sequence[Tensor]) -> list[Tensor]:
    """One gradient for each input; not finite if float16 overflows at every scale."""
    mean = costs.mean()
    if network_type != torch.float16:
        return list(torch.autograd.grad(mean, inputs))
    scale = _LOSS_SCALE * 2.0 ** (len(costs) - 1).bit_length()
    for _ in range(_ATTEMPTS):
        scaled = torch.autograd.grad(scale * mean, inputs, retain_graph=True)
        if all(bool(gradient.isfinite().all()) for gradient in scaled):
            break
        scale *= _BACKOFF
    return [gradient / scale for gradient in scaled]


def score_function(log_probs: Tensor, costs: Tensor) -> Tensor:
    """Return a scalar whose gradient is an unbiased estimate of that of the expected cost, from draws alone.

    `mean_i (c_i - b_i) log p_i` (Williams, 1992). The baseline `b_i` is the mean of the other costs (Kool et al.,
    2019): it lowers the variance and adds no bias. A single draw has none. Costs `[B]` are constants.
    """
    costs = costs.detach()
    count = len(costs)
    if count > 1:
        costs = (costs - costs.mean()) * (count / (count - 1))
    return (costs * log_probs).mean()
