"""Commands of `python -m analysis` in version 0.1.0 that train: each writes a study and runs it.

Their options are the fields of that study, which `docs/analysis.md` and the studies beside this file explain.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import auto_cli

from lightning_modules.commands.terminal import mistakes_in_one_line, quieten

_CROPS = {"scale": 1.0, "aspect": 0.5, "translate_x": 0.25, "translate_y": 0.25}


def exchange_rate(
    path: str,
    folder: Path = Path("runs/exchange_rate"),
    policies: list[str] = ["flip_crop", "flip_crop+trivial_augment"],  # noqa: B006 - read only
    sizes: list[int] = [1000, 2000, 4000, 8000],  # noqa: B006
    reference_sizes: list[int] | None = None,
    frozen_views: list[int] = [],  # noqa: B006
    seeds: int = 3,
    training: dict[str, Any] = {},  # noqa: B006
    measurement: dict[str, Any] = {},  # noqa: B006
    workers: int = 1,
    threads: int = 1,
    confidence: float = 0.95,
    resamples: int = 1000,
    progress: bool = True,
) -> None:
    """Deprecated: write FOLDER/exchange_rate.yaml and run `python -m studies FOLDER/exchange_rate.yaml`."""
    largest = max(sizes, default=0)
    every = sorted({*sizes, *(reference_sizes or [*sizes, 2 * largest, 4 * largest])})
    arms: dict[str, Any] = {"none": {"policy": "none", "tasks": [str(n) for n in reference_sizes or every]}}
    for policy in policies:
        for views in (0, *frozen_views):
            frozen = f", {views} frozen view{'s' * (views > 1)}" if views else ""
            arm = {"policy": policy, "views": views, "tasks": [str(size) for size in sizes]}
            arms.setdefault(policy.replace("+", " + ") + frozen, arm)
    study = {
        "question": "How many real images is each policy worth?",
        "kind": "exchange_rate",
        "seeds": seeds,
        "report": {"confidence": confidence, "resamples": resamples},
        "common": {"path": _absolute(path), "training": training, **measurement},
        "tasks": {str(size): {"size": size} for size in every},
        "arms": arms,
    }
    _run("exchange_rate", study, folder, workers, threads, progress)


def class_effects(
    path: str,
    folder: Path = Path("runs/class_effects"),
    ops: list[str] | dict[str, float] = _CROPS,
    base: str = "flip_crop",
    strengths: list[float] = [0.05, 0.5, 1.0],  # noqa: B006 - read only
    size: int = 4000,
    seeds: int = 5,
    human_counts: Path | None = None,
    similarity: Path | None = None,
    classes: int = 2,
    weaker: str = "next",
    retrain: bool = True,
    damping: float = 0.1,
    thresholds: dict[str, float] = {},  # noqa: B006
    training: dict[str, Any] = {},  # noqa: B006
    measurement: dict[str, Any] = {},  # noqa: B006
    workers: int = 1,
    threads: int = 1,
    progress: bool = True,
) -> None:
    """Deprecated: write FOLDER/class_effects.yaml and run `python -m studies FOLDER/class_effects.yaml`."""
    arms: dict[str, Any] = {f"strength {strength:g}": {"strength": strength} for strength in strengths}
    if strengths:
        arms[f"strength {strengths[0]:g}"]["predict"] = strengths[1:]
    if retrain:
        conditional = {"strengths": strengths, "weaker": weaker, "classes": classes, "seeds": seeds}
        arms["class-conditional"] = {"conditional": conditional}
    votes: dict[str, Any] = {} if human_counts is None else {"human_counts": _absolute(human_counts)}
    votes |= {name: value for name, value in thresholds.items() if name == "vote_share"}
    study = {
        "question": "Which classes does a strong augmentation hurt?",
        "kind": "class_effects",
        "seeds": seeds,
        "report": {
            "thresholds": {name: value for name, value in thresholds.items() if name != "vote_share"},
            "similarity": None if similarity is None else _absolute(similarity),
        },
        "common": {
            "path": _absolute(path), "size": size, "ops": ops, "base": base, "damping": damping, "training": training,
            **votes, **measurement,
        },
        "arms": arms,
    }  # fmt: skip
    _run("class_effects", study, folder, workers, threads, progress)


def _run(name: str, study: dict[str, Any], folder: Path, workers: int, threads: int, progress: bool) -> None:
    """Write a study and run it in a process of its own; end with its exit code if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False))
    command = ["-m", "studies", str(file), f"--folder={folder / 'runs'}", f"--output={folder / 'analysis'}"]
    command += [f"--workers={workers}", f"--threads={threads}", f"--progress={str(progress).lower()}"]
    print(
        f"DeprecationWarning: {name} moved to python {' '.join(command[:3])}; {file} holds its options.",
        file=sys.stderr,
    )
    code = subprocess.run([sys.executable, *command], check=False).returncode
    if code:
        raise SystemExit(code)


def _absolute(path: str | Path) -> str:
    """Return the absolute path of a file or folder; a hub name as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else str(path)


def main(args: list[str] | None = None) -> None:
    """Run one of the commands; a user's mistake becomes one paragraph."""
    quieten()
    with mistakes_in_one_line():
        auto_cli({"class_effects": class_effects, "exchange_rate": exchange_rate}, args=args, prog="python -m analysis")


if __name__ == "__main__":
    main()
