"""Moments of augmented images, of network outputs on them, and of the loss.

views = views_of(policy, image)                      # weighted views of an image under a policy
views.moments                                        # mean and covariance of the image, as a factor
loss_moments(network, views.moments, target)         # of the loss, without passing the views through the network
explicit_regularizer(network, means, factors, loss)  # the term that training on all views adds, as a loss
"""

from ..former_names import former_names
from .factored import Moments, moments_of
from .mixing_views import mixed_views
from .network import loss_moments, output_moments
from .policy_influence import expected_influence
from .policy_views import views_of
from .regularizer import explicit_regularizer

__all__ = [
    "Moments",
    "expected_influence",
    "explicit_regularizer",
    "loss_moments",
    "mixed_views",
    "moments_of",
    "output_moments",
    "views_of",
]

__getattr__ = former_names(__name__, explicit_regulariser="explicit_regularizer")
