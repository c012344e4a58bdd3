"""Two views of a W&B project: one of a run, one that compares controls.

All panels show keys of `metric_keys`, and every section ends with their help.
"""

from collections.abc import Mapping
from typing import Any

import wandb_workspaces.expr as expressions
import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces

from lightning_modules.monitoring.metric_keys import metric

STEP = "trainer/global_step"
CONTROL = "control"  # the hyperparameter in which the arms of a comparison differ

Sections = Mapping[str, Mapping[str, tuple[str, ...]]]  # title of a section -> title of a panel -> documented keys

RUN: Sections = {
    "Accuracy": {
        "Accuracy": ("val/acc", "train/acc"),
        "Mean average precision (several labels)": ("val/map",),
        "Loss": ("val/loss", "train/loss"),
        "Test": ("test/acc", "test/map"),
    },
    "What was learned": {
        "Ranges": ("range/OP",),
        "Centers of ranges (conditional)": ("shift/OP",),
        "Lowest magnitudes (intervals)": ("lowest/OP",),
        "Highest magnitudes (intervals)": ("highest/OP",),
        "Probabilities (mixture)": ("probability/OP",),
        "Strengths (mixture)": ("strength/OP",),
        "Field": ("field/FACT",),
        "Before (first row) and after": ("policy/augmentations",),
    },
    "Influence": {
        "Influence of each image": ("influence/histogram",),
        "Mean influence": ("influence/mean",),
        "Loss on the influence set": ("influence/loss",),
    },
    "Guard": {
        "Retention": ("policy/retention",),
        "Guard events": ("policy/rollbacks", "policy/unhealthy", "policy/gave_up"),
        "Strength of the policy": ("policy/pixel_change", "policy/feature_move"),
    },
    "Solver and speed": {
        "Residual of the solve": ("influence/ihvp_residual",),
        "Hessian products of a solve": ("influence/cg_iters",),
        "Throughput": ("train/images_per_second",),
    },
    "Classes": {
        "Validation accuracy of each class": ("val/acc/CLASS",),
        "Average precision of each class": ("val/ap/CLASS",),
    },
    "Training images": {
        "Effective number": ("samples/effective",),
        "Shift of labels": ("samples/label_shift",),
    },
}
COMPARISON: Sections = {
    "Accuracy": {
        "Test accuracy": ("test/acc",),
        "Validation accuracy": ("val/acc",),
        "Validation loss": ("val/loss",),
        "Training loss": ("train/loss",),
        "Throughput": ("train/images_per_second",),
    },
    "Policy": {
        "Ranges": ("range/OP",),
        "Retention": ("policy/retention",),
        "Roll-backs": ("policy/rollbacks",),
        "Change of a pixel": ("policy/pixel_change",),
        "Mean influence": ("influence/mean",),
    },
}


def run_view(entity: str, project: str) -> Any:
    """Return the view of the policy and the health of a run, as a `Workspace`; nothing is sent."""
    return _workspace(entity, project, "augfluence: a run", [_section(name, RUN[name]) for name in RUN])


def comparison_view(entity: str, project: str) -> Any:
    """Return the view of mean and standard error of the runs of each control, as a `Workspace`; nothing is sent."""
    grouped = {"groupby": reports.Config(CONTROL), "groupby_aggfunc": "mean", "groupby_rangefunc": "stderr"}
    sections = [_section(name, COMPARISON[name], **grouped) for name in COMPARISON]
    return _workspace(entity, project, "augfluence: controls", sections, groupby=[expressions.Config(CONTROL)])


def _workspace(entity: str, project: str, name: str, sections: list[Any], **runs: Any) -> Any:
    """Return a view with the columns and the horizontal axis that both views share."""
    columns = ["config:control", "config:policy", "summary:val/acc"]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis=STEP, max_runs=20),
        runset_settings=workspaces.RunsetSettings(pinned_columns=columns, **runs),
        auto_generate_panels=False,
    )


def _section(name: str, panels: Mapping[str, tuple[str, ...]], **settings: Any) -> Any:
    """Return a section of panels, with the help of all their keys."""
    found = [panel(title, keys, **settings) for title, keys in panels.items()]
    texts = [help_text(key) for keys in panels.values() for key in keys]
    help_panel = reports.MarkdownPanel(markdown="\n\n".join(texts))
    return workspaces.Section(name=name, panels=[*found, help_panel], is_open=True)


def help_text(key: str) -> str:
    """Return the entry of a documented key as text."""
    found = metric(key)
    return (
        f"**`{found.key}`** ({found.unit}, logged {found.when}): {found.meaning}.\n"
        f"*Healthy:* {found.healthy} *When it is not:* {found.otherwise}"
    )


def panel(title: str, keys: tuple[str, ...], **settings: Any) -> Any:
    """Return a panel of documented keys: pictures, a bar for keys that are logged once, otherwise lines over the steps.

    `settings` group the bars or lines.

    Raises:
        KeyError: If a key is not documented.
        ValueError: If a family shares its panel.
    """
    found = [metric(key) for key in keys]
    if found[0].unit == "picture":
        return reports.MediaBrowser(title=title, media_keys=list(keys), num_columns=1)
    if found[0].when.startswith("once"):
        return reports.BarPlot(title=title, metrics=list(keys), **settings)
    if not any(one.is_family for one in found):
        return reports.LinePlot(title=title, x=STEP, y=list(keys), **settings)
    if len(found) > 1:
        raise ValueError(f"panel {title!r}: a family of keys needs a panel of its own, found {', '.join(keys)}.")
    return reports.LinePlot(title=title, x=STEP, metric_regex=found[0].regex, **settings)
