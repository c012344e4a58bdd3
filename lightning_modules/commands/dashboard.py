"""Dashboards of a W&B project as code: `python -m lightning_modules.commands.dashboard --entity E --project P`.

Two saved views, see `lightning_modules.monitoring.dashboard_views`: one of a run, one that compares controls.
"""

import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich.console import Console

from augnet.atomic_file import write_atomically
from lightning_modules.commands.terminal import mistakes_in_one_line, quieten


def views(entity: str, project: str) -> list[Any]:
    """Return both views, as `wandb_workspaces.workspaces.Workspace`; nothing is sent.

    Raises:
        ValueError: If the extra `dashboard` is not installed.
    """
    try:
        from lightning_modules.monitoring.dashboard_views import comparison_view, run_view
    except ImportError as error:
        raise ValueError(
            f"dashboards need the package wandb-workspaces ({error}): pip install 'augfluence[dashboard]'."
        ) from error
    return [run_view(entity, project), comparison_view(entity, project)]


def as_json(view: Any) -> dict[str, Any]:
    """Return the stored form of a view, with its name, from which W&B restores it."""
    model = view._to_model()
    return {"name": model.display_name, "spec": model.spec.model_dump(mode="json", by_alias=True, exclude_none=True)}


def dashboard(entity: str, project: str = "augfluence", dry_run: bool = False, write: Path | None = None) -> None:
    """Save two views of the runs of a W&B project: one of a run, one that compares controls.

    Args:
        entity: User or team that owns the project.
        project: Its name; runs of `train.py` go to `augfluence`.
        dry_run: Print the views as JSON and send nothing; needs no account.
        write: Write the JSON to this file too.

    Raises:
        ValueError: If the extra `dashboard` is not installed, or W&B refuses the views.
    """
    found = views(entity, project)
    text = json.dumps([as_json(view) for view in found], indent=2) + "\n"
    if write is not None:
        write_atomically(write, text)
    if dry_run:
        if write is None:
            print(text, end="")
        return
    for view in found:
        _save(view)
        Console().print(f"{view.name}: {view.url}", soft_wrap=True)


def _save(view: Any) -> None:
    """Send a view to W&B; needs a network and an account."""
    try:
        view.save()
    except Exception as error:
        raise ValueError(
            f"W&B did not take the view {view.name!r} of {view.entity}/{view.project} "
            f"({type(error).__name__}: {error}). It needs a network, an account (`wandb login`) and a project with at "
            "least one run (`wandb sync`, or --run.wandb=online); --dry_run shows the views without any of these."
        ) from error


def main(args: list[str] | None = None) -> None:
    """Run the command with these arguments, or those of the process; exit with 2 after an error of the user."""
    quieten()
    description = "Save two views of the runs of a W&B project: one of a run, one that compares controls."
    parser = ArgumentParser(prog="python -m lightning_modules.commands.dashboard", description=description)
    parser.add_function_arguments(dashboard, as_group=False, skip={"dry_run"})
    parser.add_argument("--dry_run", action="store_true", help="Print the views as JSON and send nothing.")
    with mistakes_in_one_line():
        dashboard(**parser.parse_args(args))


if __name__ == "__main__":
    main()
