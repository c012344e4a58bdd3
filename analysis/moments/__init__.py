"""Moments of augmented images, of what a network makes of them, and of the loss.

views = views_of(policy, image)                      # what a policy makes of an image, with weights
views.moments                                        # mean and covariance of the image, as a factor
loss_moments(network, views.moments, target)         # of the loss, without passing the views through the network
explicit_regulariser(network, means, factors, loss)  # what training on all views adds, as a loss
"""

from .factored import Moments, moments_of
from .mixing import mixed_views
from .network import loss_moments, output_moments
from .policy_influence import expected_influence
from .policy_views import views_of
from .regulariser import explicit_regulariser

__all__ = [
    "Moments",
    "expected_influence",
    "explicit_regulariser",
    "loss_moments",
    "mixed_views",
    "moments_of",
    "output_moments",
    "views_of",
]
