"""The section on the predicted effect of ops on classes, and its summary."""

from __future__ import annotations

from ..run_folder import OpenedRun
from .blocks import DASH, Block, Picture, Section, Table, Text, fixed, number, spoken
from .drawing import drawing
from .op_influence import OpInfluence
from .page_figures import heat_map

_DRAWN = 12  # classes beside each other in a picture


def op_section(run: OpenedRun, found: OpInfluence | None, reason: str, prefix: str) -> Section:
    """Return the section on the influence of the ops of a run, or with the reason of its absence.

    The name of its picture begins with `prefix`, which is unique on the page.
    """
    title = "Which ops help which classes: a prediction"
    if found is None:
        return Section("ops", title, missing=reason)
    names = list(run.data.class_names)
    blocks: list[Block] = [Text(_method(found))]
    if len(names) <= _DRAWN:
        alt = f"Predicted change of the loss of {len(names)} classes under {len(found.ops)} ops; tables have them."
        plot = drawing(heat_map(found.mean.numpy(), found.clear.numpy(), found.ops, names), f"{prefix}-ops", alt)
        caption = "Predicted change of each class's loss: violet helps, orange hurts, bold is beyond chance."
        blocks.append(Picture(plot, caption))
    blocks += [_extremes(found, names), _all(found, names), Text(_caveats(run, found), note=True)]
    return Section("ops", title, blocks)


def sentence(run: OpenedRun, found: OpInfluence) -> str:
    """Return the prediction in a sentence for the summary."""
    names = run.data.class_names
    clear = [(float(found.mean[p, k]), p, k) for p, k in found.clear.nonzero().tolist()]
    if not clear:
        return "No op is predicted to help or hurt a class beyond chance; one that has done its work shows little."
    joined = ", ".join(
        f"{spoken(found.ops[p])} is predicted to {verb} class {names[k]} most ({number(value, 2)} nats)"
        for verb, (value, p, k) in (("help", min(clear)), ("hurt", max(clear)))
        if (value < 0) == (verb == "help")
    )
    return f"{joined[:1].upper()}{joined[1:]}."


def _method(found: OpInfluence) -> str:
    images = int(found.images.max())
    return (
        "What would happen to the loss of each class of the influence set if every training image were replaced by a "
        "view under one op alone, at the strength it was learned with, and the last layer refitted: predicted to first "
        f"order by influence functions from the last checkpoint, over {images:,} training images, in nats (the unit of "
        "cross-entropy). Negative helps."
    )


def _caveats(run: OpenedRun, found: OpInfluence) -> str:
    empty = [run.data.class_names[k] for k, count in enumerate(found.of_class.tolist()) if count == 0]
    words = [
        "It is a prediction about a network that has already been trained with this policy: an op that has done its "
        "work shows little; a large number is a direction, not an amount.",
        f"Beyond chance means that the mean over training images differs from 0 at 95 % confidence, over all "
        f"{found.mean.numel()} numbers at once, for this influence set of {int(found.of_class.min())} to "
        f"{int(found.of_class.max())} images a class.",
    ]
    if run.data.influence_source == "cross_fit":
        words.append(
            "With cross_fit the influence images were trained on in other epochs: these numbers are optimistic."
        )
    if empty:
        words.append(f"Without influence images: {', '.join(empty)}.")
    if not found.converged:
        words.append("The solve missed its tolerance.")
    return " ".join(words)


def _extremes(found: OpInfluence, names: list[str]) -> Table:
    """Return the table of each op with its mean and the classes that it helps and hurts most."""
    weights = found.of_class.double() / found.of_class.sum()
    rows = []
    for p, op in enumerate(found.ops):
        values = found.mean[p].double()
        if bool(values.isnan().any()):
            rows.append([spoken(op), "never taken", *DASH * 4])
            continue
        best, worst = int(values.argmin()), int(values.argmax())
        helped = [names[best], fixed(float(values[best]), 3)] if values[best] < 0 else ["none", DASH]
        hurt = [names[worst], fixed(float(values[worst]), 3)] if values[worst] > 0 else ["none", DASH]
        rows.append([spoken(op), fixed(float(weights @ values), 3), *helped, *hurt])
    columns = ["Op", "All classes", "Helps most", "by", "Hurts most", "by"]
    return Table("Predicted change of the loss, in nats", columns, rows, frozenset({0, 2, 4}))


def _all(found: OpInfluence, names: list[str]) -> Table:
    """Return the table of every number with its standard error; ops are columns, so that many classes fit."""
    rows = [[name, *(_with_error(found, p, k) for p in range(len(found.ops)))] for k, name in enumerate(names)]
    columns = ["Class", *(spoken(op).capitalize() for op in found.ops)]
    return Table("Predicted change of the loss of each class, ± standard error", columns, rows, folded=True)


def _with_error(found: OpInfluence, p: int, k: int) -> str:
    value, error = float(found.mean[p, k]), float(found.error[p, k])
    return DASH if value != value else f"{fixed(value, 3)} ± {fixed(error, 3)}"
