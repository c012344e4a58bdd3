"""Settings that must be in place before any library is imported: no network, no traces left."""

import os
import tempfile

_CACHE = tempfile.TemporaryDirectory(prefix="augfluence-tests-")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = _CACHE.name
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"  # of what Lightning calls
