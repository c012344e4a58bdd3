"""Finished runs that tests share, each trained once; tests that change a run copy its folder first."""

from pathlib import Path

import pytest
from finished_runs import digits_run
from report_runs import evaluated_run

from analysis.run_folder import OpenedRun, open_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs on digits behind flip and crop, with a policy of two ops."""
    settings = ("--seed_everything=3", "--model.ops=[rotation, brightness]", "--model.base_policy=flip_crop")
    return digits_run(tmp_path_factory.mktemp("runs"), *settings, "--trainer.max_epochs=3")


@pytest.fixture(scope="session")
def opened(finished: Path) -> OpenedRun:
    return open_run(finished, device="cpu")


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tested run without a policy."""
    return evaluated_run(tmp_path_factory.mktemp("runs"), "--model.control=plain")
