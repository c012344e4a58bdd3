"""Data sets are found relative to one folder, which can be chosen."""

from pathlib import Path

import pytest

from studies.data_location import DEFAULT, VARIABLE, data_folder, data_path


def test_data_sets_lie_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert data_folder() == DEFAULT
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    assert data_path("cifar10") == str(tmp_path / "cifar10")
    assert data_path(str(tmp_path / "cifar10")) == str(tmp_path / "cifar10")
    assert data_path("owner/name") == "owner/name"  # of the hub
    for name in ("cifar100", "/cifar100", "a/b/c"):
        with pytest.raises(FileNotFoundError, match=f"--data or {VARIABLE}"):
            data_path(name)
