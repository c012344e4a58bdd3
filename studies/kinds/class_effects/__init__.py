"""Studies of class effects: one policy at several strengths, and with a strength for each class (docs/method.md).

Arms: a strength each, the weakest first, and class-conditional ones, which are chosen on the validation split of the
runs of the strengths (Kirichenko et al., 2023).
"""

from typing import cast

from studies.engine import Kind, Setting
from studies.kinds.class_effects.report import ClassEffectsReport
from studies.kinds.class_effects.run import ClassRun

KIND = Kind(cast(type[Setting], ClassRun), ClassEffectsReport)
