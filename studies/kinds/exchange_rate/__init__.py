"""Studies of exchange rates: the worth of policies in real images (Geiping et al., 2023; docs/method.md).

A task is a number of training images, an arm is a policy; the arm `none` is the reference.
"""

from typing import cast

from studies.engine import Kind, Setting
from studies.kinds.exchange_rate.report import WorthReport
from studies.kinds.exchange_rate.run import PolicyRun

KIND = Kind(cast(type[Setting], PolicyRun), WorthReport)
