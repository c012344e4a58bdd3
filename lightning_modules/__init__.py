"""Training: the rooms that join images and influence, and alone know Lightning, W&B and the command line."""

import sys

from lightning_modules.moved import MovedModules

if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
    sys.meta_path.append(MovedModules())
