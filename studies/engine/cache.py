"""Results of runs on disk, one JSON file a run.

Several processes may share the folder. A process that works on a run holds a file lock, which the operating system
releases when the process ends, however it ends. Results are written atomically.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from augnet.atomic_file import write_atomically
from benchmarks.environment import environment
from studies.engine.setting import Result, Setting


@dataclass(frozen=True)
class Cache:
    """A folder of results.

    Args:
        folder: Holds `KEY.json` for each run, `files/KEY/` for what it left beside its result, and `locks/`.
    """

    folder: Path

    def has(self, setting: Setting) -> bool:
        """Return whether the result of a run is there."""
        return self._path(setting).is_file()

    def read(self, setting: Setting) -> Result | None:
        """Return the result of a run, None if it is not there.

        Raises:
            ValueError: If its file is damaged.
        """
        path = self._path(setting)
        try:
            result: Result = json.loads(path.read_text())["result"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no result of a run ({error}): delete it, and the run is repeated.") from error
        return result

    def write(self, setting: Setting, result: Result) -> None:
        """Keep the result of a run, with its setting.

        Raises:
            ValueError: If a number is not finite.
        """
        content = {"kind": type(setting).__name__, "setting": asdict(setting), "result": result}
        write_atomically(self._path(setting), json.dumps(content, indent=1, allow_nan=False) + "\n")

    def files(self, setting: Setting) -> Path:
        """Return the folder of the files of a run; it exists and is empty when the run begins."""
        return self.folder / "files" / setting.key

    def obtain(self, setting: Setting, patience: float = -1.0) -> Result:
        """Return the result of a run, with what made it under `made`; it is made if it is missing.

        Args:
            setting: The run.
            patience: Seconds to wait for another process that is making it; negative waits without limit.

        Raises:
            filelock.Timeout: If another process is still making it.
        """
        if (known := self.read(setting)) is not None:
            return known
        locks = self.folder.resolve() / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{setting.key}.lock", timeout=patience):
            return self.read(setting) or self._make(setting)

    def _make(self, setting: Setting) -> Result:
        files = self.files(setting)
        shutil.rmtree(files, ignore_errors=True)  # left by a run that was killed
        files.mkdir(parents=True)
        result = {**setting.run(self), "made": environment()}
        if not any(files.iterdir()):
            files.rmdir()
        self.write(setting, result)
        return result

    def _path(self, setting: Setting) -> Path:
        return self.folder / f"{setting.key}.json"
