"""The sections about one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lightning_modules.learner.targets import as_probabilities

from .. import PROGRAM
from ..run_folder import OpenedRun
from .accuracy import Summary
from .blocks import Block, Gallery, Picture, Section, Text, listed, number
from .drawing import drawing, image_grid, photograph, smaller
from .harmful import Scores, read_scores, score_some
from .learned import class_table, history_of, kind_of, learned_table
from .op_influence import MOST_CLASSES, OpInfluence, measure_ops
from .op_section import op_section
from .page_figures import histogram, over_time
from .provenance import provenance
from .result_blocks import result_blocks

_COLUMNS, _DRAWS = 8, 3  # of the grid
_WORST = 12  # images
_ONE_LABEL = "Left out: it is computed for one label an image, and an image of these data may have several."
_OF_A_RUN = ("moments", "landscape")  # the other analyses are of data
_ANALYSES = {
    "moments": "Moments: how many draws the augmentations need",
    "landscape": "Landscape: how flat the minimum is, and how noisy the gradients",
    "exchange_rate": "Exchange rate: how many real images an augmentation is worth",
    "class_effects": "Class effects: which classes gain and which pay",
}


Sections = tuple[list[Section], OpInfluence | None]  # of a run; with the influence of its ops, for the summary


@dataclass(frozen=True)
class Effort:
    """Limits of the computation of a page, its progress callback, and folders of results."""

    images: int  # training images behind influence; 0 computes nothing
    seed: int  # of their choice, and of draws
    studies: list[Path]  # folders of results that belong to no single run
    on_step: Callable[[str], None]  # takes the name of each step


def run_sections(run: OpenedRun, summary: Summary | None, effort: Effort, prefix: str) -> Sections:
    """Return all sections about one run.

    The names of its pictures begin with `prefix`, which is unique on the page.

    Raises:
        ValueError: If a file of the run is damaged.
    """
    effort.on_step("what was learned")
    sections = [_learned(run, prefix), _pictures(run, effort.seed)]
    effort.on_step("ops and classes")
    ops, reason = _ops(run, effort)
    sections.append(op_section(run, ops, reason, prefix))
    effort.on_step("training images")
    sections += _influence(run, effort, prefix)
    effort.on_step("other analyses")
    folders = [run.folder, *effort.studies]
    sections += [_analysis(name, folders, run) for name in _ANALYSES]
    seconds = None if summary is None else sum(summary.seconds.values())
    return [*sections, provenance(run, seconds)], ops


def _learned(run: OpenedRun, prefix: str) -> Section:
    title = "What was learned"
    if run.policy is None:
        return Section("learned", title, missing="This run has no policy: it was trained as the control plain.")
    facts = run.policy.describe()
    of_classes = class_table(facts, run.data.class_names)
    blocks: list[Block] = [learned_table(facts), *([of_classes] if of_classes else [])]
    if run.model.control != "none" or run.model.hparams.get("policy_file"):
        how = "read from a file" if run.model.hparams.get("policy_file") else f"that of the control {run.model.control}"
        blocks.insert(0, Text(f"The policy of this run is {how}."))
    history = history_of(run.folder, run.policy)
    if len(history) > 1:
        shares = {"mixture": "probability", "ranges": "range / bound", "fields": "value in its unit"}
        last = max(history)
        alt = f"What was learned about each op at {len(history)} of {last} training steps; the table has the end."
        plot = drawing(over_time(history, shares[kind_of(facts)]), f"{prefix}-time", alt)
        blocks.append(Picture(plot, "The policy over training."))
    else:
        why = "it was not learned in this run, or not logged (trainer.log_every_n_steps)"
        blocks.append(Text(f"metrics.csv has no policy over time: {why}.", note=True))
    return Section("learned", title, blocks)


def _pictures(run: OpenedRun, seed: int) -> Section:
    title = "Before and after"
    if run.policy is None:
        return Section("pictures", title, missing="There is nothing to draw: this run has no policy.")
    train, generator = run.data.splits.train, torch.Generator().manual_seed(seed)
    rows = _of_different_classes(train.labels, generator)
    images, labels = train.__getitems__(rows)
    names = listed([_label_of(label, run.data.class_names) for label in labels.tolist()])
    device = run.model.device
    images, targets = images.to(device), as_probabilities(labels.to(device), run.data.num_classes)
    net = run.policy.to(device).train()
    with torch.no_grad():
        draws = [net(images, targets, generator=generator)[0] for _ in range(_DRAWS)]
    alt = f"{len(rows)} training images, of the classes {names}: above as they are, below {_DRAWS} draws of each."
    blocks: list[Block] = [
        Picture(image_grid(torch.stack([images, *draws]).cpu(), alt), f"{alt} The base policy is left out.")
    ]
    if run.data.splits.deployment:
        seen = run.data.splits.influence
        images, _ = seen.__getitems__(_of_different_classes(seen.labels, generator))
        alt = f"{len(images)} images of the influence set: what the policy was to prepare for."
        blocks.append(Picture(image_grid(images[None], alt), alt))
    return Section("pictures", title, blocks)


def _label_of(label: int | list[float], names: Sequence[str]) -> str:
    """Return the class of an image, or its several classes."""
    if isinstance(label, int):
        return names[label]
    return " + ".join(name for name, present in zip(names, label, strict=True) if present) or "none"


def _of_different_classes(labels: Tensor, generator: torch.Generator) -> list[int]:
    """Return rows of images of as many classes as the grid has columns."""
    order = torch.randperm(len(labels), generator=generator)
    seen = labels[order].tolist()
    first = sorted(range(len(seen)), key=lambda place: (seen[:place].count(seen[place]), place))[:_COLUMNS]
    return order[first].tolist()


def _ops(run: OpenedRun, effort: Effort) -> tuple[OpInfluence | None, str]:
    """Return the influence of ops, or None and the reason."""
    if run.policy is None:
        return None, "This run has no policy, so there is nothing to predict."
    if run.data.influence_source == "train":
        return None, "This run trained on its influence images: none were left to predict on (data.influence_source)."
    if run.data.multilabel:
        return None, _ONE_LABEL
    if run.data.num_classes > MOST_CLASSES:
        return None, f"Left out: {run.data.num_classes} classes, it is computed for {MOST_CLASSES} at most."
    if effort.images < 2:
        return None, f"Left out by --images 0: {PROGRAM} report with at least 2 images computes it."
    return measure_ops(run, effort.images, effort.seed), ""


def _influence(run: OpenedRun, effort: Effort, prefix: str) -> list[Section]:
    titles = {"influence": "Influence of the training images", "harmful": "The most harmful training images"}
    command = (
        f"python train.py attribute --config {run.folder}/config.yaml --ckpt_path {run.folder}/checkpoints/last.ckpt"
    )
    if run.data.multilabel:
        return [Section(name, title, missing=_ONE_LABEL) for name, title in titles.items()]
    scores = read_scores(run, _WORST)
    reason = None
    if scores is None and run.data.influence_source != "held_out":
        reason = (
            f"This run trained on its influence images (data.influence_source {run.data.influence_source}); what helps "
            "on images that were never trained on can be asked of a run with held_out."
        )
    elif scores is None and effort.images < 2:
        reason = f"Left out by --images 0. Scores of all training images: {command}"
    elif scores is None:
        scores = score_some(run, effort.images, effort.seed, _WORST)
    if scores is None:
        return [Section(name, title, missing=reason) for name, title in titles.items()]
    return [
        Section("influence", titles["influence"], _distribution(scores, prefix)),
        Section("harmful", titles["harmful"], _worst(scores, command)),
    ]


def _distribution(scores: Scores, prefix: str) -> list[Block]:
    values = torch.tensor(scores.influence, dtype=torch.float64)
    harmful = 100 * float((values > 0).double().mean())
    outer = [number(float(bound)) for bound in values.quantile(values.new_tensor([0.05, 0.5, 0.95]))]
    spread = f"5 % lie below {outer[0]}, half below {outer[1]}, 95 % below {outer[2]}"
    alt = f"Histogram of the influence of {len(values):,} training images: {spread}."
    plot = drawing(histogram(scores.influence, "influence: left helps, right harms"), f"{prefix}-influence", alt)
    count = "all" if len(values) == scores.of else f"{len(values):,} of"
    return [
        Text(
            f"{harmful:.0f} % of the images are harmful to first order: more weight on them would raise the loss on "
            f"the influence set. Scored were {count} {scores.of:,} training images as they are, not augmented, on a "
            "last layer refitted to the features of the trained network."
        ),
        Picture(plot, f"Influence of the images, on a logarithmic axis of counts; {spread}."),
    ]


def _worst(scores: Scores, command: str) -> list[Block]:
    items = []
    for pixels, row in scores.worst:
        image = smaller(pixels[None])[0]
        label, predicted, suggested = row["label_name"], row["predicted"], row["suggested"]
        alt = f"Training image {row['source']}, labelled {label}"
        lines = [f"labelled {label}"]
        lines += [f"predicted {predicted}"] if predicted != label else []
        lines += [f"suggested {suggested}"] if suggested not in (label, predicted) else []
        lines += [f"influence {number(row['influence'])}", row["source"]]
        items.append((photograph(image, alt, max(1, 96 // image.shape[-1])), lines))
    suspects = sum(row["suggested"] != row["label_name"] for row in scores.rows)
    note = f"For {suspects:,} of {len(scores.rows):,} images a head that has not seen them suggests "
    whole = "" if len(scores.rows) == scores.of else f" Scores of all training images: {command}"
    return [
        Gallery("Images whose greater weight would harm most, the worst first", items),
        Text(f"{note}another class than their label; look at them before leaving any out.{whole}", note=True),
    ]


def _analysis(name: str, folders: list[Path], run: OpenedRun) -> Section:
    if run.data.multilabel:
        return Section(name, _ANALYSES[name], missing=_ONE_LABEL)
    blocks: list[Block] = []
    for folder in dict.fromkeys(folders):
        blocks += result_blocks(folder, name) or []
    command = f"{PROGRAM} {name}" + (f" {run.folder}" if name in _OF_A_RUN else " (--help says how)")
    missing = (
        f"Not measured yet: there is no {name}.json in {run.folder / 'analysis'}. To measure it: {command}. Results in "
        'another folder are shown with --studies "[FOLDER]".'
    )
    return Section(name, _ANALYSES[name], blocks, None if blocks else missing)
