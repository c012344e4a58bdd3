"""Memory of a process, from Linux's /proc."""

from pathlib import Path


def memory(field: str, process: int | None = None) -> float:
    """Return `VmRSS` (now) or `VmHWM` (peak) of a process, by default of this one, in MiB.

    Raises:
        RuntimeError: Where there is no such figure.
    """
    return _field(Path(f"/proc/{process or 'self'}/status"), field)


def private(process: int) -> float:
    """Return the memory of a process that it shares with no other, in MiB.

    Raises:
        RuntimeError: Where there is no such figure.
    """
    return sum(_field(Path(f"/proc/{process}/smaps_rollup"), f"Private_{kind}") for kind in ("Clean", "Dirty"))


def reset_peak() -> None:
    """Reset `VmHWM` of this process."""
    Path("/proc/self/clear_refs").write_text("5")


def _field(file: Path, name: str) -> float:
    for line in file.read_text().splitlines() if file.exists() else []:
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"expected {name} in {file}; the benchmark needs Linux")
