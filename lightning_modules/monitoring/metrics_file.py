"""Logger of `metrics.csv`, whose written rows survive a full disk."""

import csv
import io
import os
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from augnet.atomic_file import write_atomically


class AtomicCSVLogger(CSVLogger):
    """Lightning's CSV logger, which replaces the file atomically for a new column, and removes incomplete rows."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the file."""
        if self._experiment is None:
            os.makedirs(self.root_dir, exist_ok=True)
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment

    def finalize(self, status: str) -> None:
        """Write the latest rows; after a failed run ignore errors of the disk, which would hide the failure."""
        try:
            super().finalize(status)
        except OSError:
            if status != "failed":
                raise


class _Writer(ExperimentWriter):
    """Lightning's writer of the file, with atomic operations."""

    def save(self) -> None:
        """Write the rows since the last call.

        Raises:
            OSError: If the disk is full; the file is then unchanged.
        """
        if not self.metrics:
            return
        self.metrics_keys = sorted({*self.metrics_keys, *(key for row in self.metrics for key in row)})
        if self._columns() == self.metrics_keys:
            self._append()
        else:
            self._replace()
        self.metrics = []

    def _columns(self) -> list[str] | None:
        """Return the columns of the file; None if there is no file yet."""
        if not os.path.exists(self.metrics_file_path):
            return None
        with open(self.metrics_file_path, newline="") as file:
            return next(csv.reader(file), None)

    def _append(self) -> None:
        """Add the rows to the file; remove them again if they do not fit on the disk."""
        path = self.metrics_file_path
        size = os.path.getsize(path)
        try:
            with open(path, "a", newline="") as file:
                csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
        except OSError as error:
            os.truncate(path, size)
            raise OSError(error.errno, error.strerror, path) from error

    def _replace(self) -> None:
        """Write the file anew, with all columns."""
        rows: list[dict[str, Any]] = []
        if os.path.exists(self.metrics_file_path):
            with open(self.metrics_file_path, newline="") as file:
                rows = list(csv.DictReader(file))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys)
        writer.writeheader()
        writer.writerows([*rows, *self.metrics])
        write_atomically(self.metrics_file_path, text.getvalue())
