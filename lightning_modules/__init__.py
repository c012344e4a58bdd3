"""Training with a learned policy: learner, Lightning callbacks and classifier, data, command line."""

import sys

from lightning_modules.moved import MovedModules

if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
    sys.meta_path.insert(0, MovedModules())  # before that of paths, which would load a second copy
