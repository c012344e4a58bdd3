"""Files of a run: its folder, and the files and commands to look at it."""

import errno
import shlex
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console


def own_rank() -> int:
    """Return the rank of this process, also before there is a process group; 0 for a single process."""
    return int(getattr(rank_zero_only, "rank", 0))


def require_writable(folder: Path, field: str) -> None:
    """Raise ValueError unless files can be written into a folder, or into the one that it is to be made in.

    `field` is the name of the setting that decides on the folder.
    """
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        TemporaryFile(dir=nearest).close()
        return
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = error.strerror
    raise ValueError(  # a mistake with the setting, so that the error of the system is not its cause
        f"{field}: nothing can be written into {nearest} ({reason}), where {folder} is to be: give a folder that you "
        "may write to."
    )


def next_free_folder(wanted: Path) -> Path:
    """Make and return the folder `wanted` or, if it exists, the first free one of `wanted-2`, `wanted-3`, ...

    Of several processes only the first makes a folder, and only it writes files; the others get `wanted`.
    """
    if own_rank() != 0:
        return wanted
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def print_files(folder: Path) -> None:
    """Print the folder of a run, its main files, and the commands that show its logs."""
    console = Console()
    console.print(f"Files of this run: {folder}", soft_wrap=True, markup=False, highlight=False)
    for name, path in files_and_commands(folder).items():
        console.print(f"  {name}: {path}", soft_wrap=True, markup=False, highlight=False)


def files_and_commands(folder: Path) -> dict[str, str]:
    """Return the main files of a run, and the commands that show or upload its logs, by name; only those that exist."""
    found = {
        title: str(folder / name)
        for title, name in (("metrics", "metrics.csv"), ("learned policy", "policy.json"))
        if (folder / name).exists()
    }
    offline = sorted(folder.glob("wandb/offline-run-*"))
    if offline:
        every_arm = [shlex.quote(str(path)) for path in sorted(folder.glob("**/wandb/offline-run-*"))]
        found["in the terminal"] = f"wandb beta leet {shlex.quote(str(offline[-1]))}"
        found["upload to W&B"] = f"wandb sync {' '.join(every_arm)}"
    if (folder / "tensorboard").exists():
        found["in the browser"] = f"tensorboard --logdir {shlex.quote(str(folder))}"
    return found
