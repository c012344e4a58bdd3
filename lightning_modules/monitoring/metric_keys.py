"""Documentation of all logged metrics: meaning, unit, frequency, healthy values, remedies.

Source of the table in docs/logging.md, which `python -m lightning_modules.monitoring.metric_keys` updates, and of the
help on the dashboards (`lightning_modules.commands.dashboard`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augnet.atomic_file import write_atomically

PAGE = Path(__file__).parents[2] / "docs" / "logging.md"
_BEGIN, _END = "<!-- made by python -m lightning_modules.monitoring.metric_keys -->", "<!-- end of what was made -->"
_EPOCH, _UPDATE = "every epoch", "policy updates"


@dataclass(frozen=True)
class MetricKey:
    """A key of the log, or a family of keys.

    Attributes:
        key: The logged key; a word in capitals stands for the name of an op, a class or a fact.
        meaning: Meaning of its values.
        unit: Unit of its values.
        when: Frequency of logging.
        healthy: Expected values.
        otherwise: Remedy for other values.
    """

    key: str
    meaning: str
    unit: str
    when: str
    healthy: str
    otherwise: str

    @property
    def is_family(self) -> bool:
        """True if it stands for several keys."""
        return self.key != re.sub(r"[A-Z]+", "", self.key)

    @property
    def regex(self) -> str:
        """Regular expression for the logged keys."""
        return "^" + "(.+)".join(re.escape(part) for part in re.split(r"[A-Z]+", self.key)) + "$"

    def covers(self, logged: str) -> bool:
        """Return True if a logged key is this key or belongs to this family."""
        return re.match(self.regex, logged) is not None


METRICS: tuple[MetricKey, ...] = (
    MetricKey(
        "train/loss",
        "Cross-entropy of the augmented training images",
        "nats",
        _EPOCH,
        "Falls; stays above that of plain training, as augmented images are harder.",
        "Not falling: lower the learning rate of the optimizer. Near 0 early: the policy is too weak for this network.",
    ),
    MetricKey(
        "train/acc",
        "Accuracy on the augmented training images",
        "share",
        _EPOCH,
        "Rises.",
        "As for `train/loss`.",
    ),
    MetricKey(
        "train/images_per_second",
        "Training images per second, of all processes, policy updates included, validation not",
        "images / s",
        _EPOCH,
        "Steady; the distance to `control: plain` is the price of the policy.",
        "Low: raise `learner.interval` or `learner.refresh`; low with `control: plain` too: more `data.num_workers`.",
    ),
    MetricKey(
        "val/loss",
        "Cross-entropy of the validation images, not augmented",
        "nats",
        "every validation",
        "Falls with `train/loss`.",
        "Rises while `train/loss` falls: overfitting; the influence set may be too small, or unlike these images.",
    ),
    MetricKey(
        "val/acc",
        "Accuracy on the validation images: the number to tune for",
        "share",
        "every validation",
        "Rises, above that of `control: plain`.",
        "Below plain training: compare with the controls; the influence set may not look like deployment.",
    ),
    MetricKey(
        "val/acc/CLASS",
        "Accuracy on the validation images of one class",
        "share",
        "every validation, up to 20 classes",
        "All classes rise; with few images a class it jumps by 1 / their number.",
        "One class falls while a range grows: that op destroys its label; lower the op's bound, or take `policy: "
        "class_conditional`.",
    ),
    MetricKey(
        "test/loss",
        "Cross-entropy of the test images",
        "nats",
        "once, after training",
        "Near `val/loss`.",
        "Far above it: the validation images do not look like the test images.",
    ),
    MetricKey(
        "test/acc",
        "Accuracy on the test images",
        "share",
        "once, after training",
        "Near `val/acc`.",
        "Far below it: as for `test/loss`. Never tune for it.",
    ),
    MetricKey(
        "range/OP",
        "Half-width of the range an op is drawn from, average over the updates; mean over images or classes where "
        "these have ranges of their own",
        "the op's",
        _UPDATE,
        "A few ops grow and level off below their bound; the others stay small.",
        "All grow together, as under `control: identity_hessian`: lower `learner.lr`, or raise `hessian_rows`. None "
        "moves: raise `learner.lr`. One lies at its bound: raise the bound, if that makes sense for these images.",
    ),
    MetricKey(
        "shift/OP",
        "Mean distance of the center of an image's range from the identity (`policy: conditional`)",
        "the op's",
        _UPDATE,
        "Small beside `range/OP`, unless the deployment is a fixed shift away.",
        "Larger than the range: the policy moves all images to one side; compare with `policy: ranges`.",
    ),
    MetricKey(
        "lowest/OP",
        "Lowest magnitude an op is drawn from (`policy: intervals`)",
        "the op's",
        _UPDATE,
        "Near 0 where deployment lies on the other side of it; about minus `highest/OP` where it lies on both.",
        "As for `range/OP`.",
    ),
    MetricKey(
        "highest/OP",
        "Highest magnitude an op is drawn from (`policy: intervals`)",
        "the op's",
        _UPDATE,
        "As for `lowest/OP`.",
        "As for `range/OP`.",
    ),
    MetricKey(
        "probability/OP",
        "How often a mixture takes an op",
        "share",
        _UPDATE,
        "Leaves its start slowly; no op at 0 or 1.",
        "One op takes all: raise `learner.kl`. Nothing moves: lower it, or raise `learner.lr`.",
    ),
    MetricKey(
        "strength/OP",
        "Mean strength of an op in a mixture, where it is taken",
        "the op's",
        _UPDATE,
        "Moves with `probability/OP`.",
        "Against its bound: as for `range/OP`.",
    ),
    MetricKey(
        "field/FACT",
        "What a field network does: `displacement` (pixels), `appearance` (share of the full range), `saturation` "
        "(share of its code at the end of its range)",
        "the fact's",
        _UPDATE,
        "Displacement of at most a few pixels; saturation below 0.5.",
        "Saturation near 1: its gradient has vanished; lower `learner.lr`.",
    ),
    MetricKey(
        "influence/loss",
        "Loss on the influence set, not augmented, when S was last solved for: what the policy is to lower",
        "nats",
        _UPDATE,
        "Falls.",
        "Near 0: the classifier has learned the influence set by another way (does it train on it?), nothing is left "
        "to learn from.",
    ),
    MetricKey(
        "influence/mean",
        "Mean influence of the augmented batch on that loss",
        "nats x images",
        _UPDATE,
        "Noise around 0, mostly negative: augmented images that help.",
        "Positive for long: the policy harms; look at `policy/augmentations` and lower `learner.lr`.",
    ),
    MetricKey(
        "influence/histogram",
        "Influence of each image of the latest augmented batch (W&B, TensorBoard)",
        "nats x images",
        "every 5 epochs",
        "A peak at 0 with tails on both sides.",
        "A few values far out: lower `learner.clip`, or raise `learner.damping`.",
    ),
    MetricKey(
        "influence/ihvp_residual",
        "Relative residual of the solve for S",
        "1",
        _UPDATE,
        "Below `learner.tol`, 0.01.",
        "Above it: raise `learner.max_iterations` or `learner.damping`. Above 1 the guard rolls back.",
    ),
    MetricKey(
        "influence/cg_iters",
        "Hessian products that the solve took",
        "1",
        _UPDATE,
        "10 to 60, steady.",
        "At `learner.max_iterations`: as for the residual.",
    ),
    MetricKey(
        "policy/retention",
        "Accuracy on augmented images / accuracy on originals",
        "ratio",
        _UPDATE,
        "0.8 to 1.",
        "Below `guard.min_retention`, 0.5: images lose their labels and the guard rolls back; lower the bounds or "
        "`learner.radius`.",
    ),
    MetricKey(
        "policy/unhealthy",
        "Unhealthy looks of the guard in a row",
        "count",
        _UPDATE,
        "0.",
        "At `guard.patience`, 5, the policy is rolled back: look at retention, residual and ranges now.",
    ),
    MetricKey(
        "policy/rollbacks",
        "How often the guard has rolled the policy back so far; each is an alert in W&B and a warning on the terminal",
        "count",
        _UPDATE,
        "0.",
        "The warning says why. Values that are not finite: lower the optimizer's learning rate.",
    ),
    MetricKey(
        "policy/gave_up",
        "Whether the policy stays as it is after `guard.max_rollbacks` roll-backs",
        "0 or 1",
        _UPDATE,
        "0.",
        "1: this run's policy is its last healthy one; start again with a lower `learner.lr`.",
    ),
    MetricKey(
        "policy/pixel_change",
        "Root mean square change of a pixel by the policy",
        "share of the full range",
        _UPDATE,
        "Around 0.1, levelling off.",
        "Higher, and growing: lower `learner.radius`, or the bounds of the ops.",
    ),
    MetricKey(
        "policy/feature_move",
        "Mean move of an image in feature space by the probed policy; not where `learner.radius` is off",
        "spread of the features",
        _UPDATE,
        "Below `learner.radius`, 1.",
        "At or above it: the trust region holds the policy; the influence is not to be believed further out.",
    ),
    MetricKey(
        "policy/augmentations",
        "Eight training images above four draws each of the policy (W&B, TensorBoard)",
        "picture",
        "every 5 epochs",
        "You can still name every image.",
        "You cannot: lower the bounds of the ops that do it.",
    ),
    MetricKey(
        "samples/effective",
        "Effective number of training images under the learned weights, as a share of all (`samples.weights`)",
        "share",
        _EPOCH,
        "Starts at 1 if the classes are as frequent as in the influence set, below otherwise; falls with wrong labels.",
        "Near 0: few images carry everything; lower `samples.lr`.",
    ),
    MetricKey(
        "samples/label_shift",
        "Mean spread of what has been added to a label's log-probabilities (`samples.soft_labels`)",
        "nats",
        _EPOCH,
        "Grows slowly, levels off.",
        "Grows on and on: lower `samples.label_lr`.",
    ),
    MetricKey(
        "adapt/loss",
        "Objective of `train.py adapt`, if it is given a logger",
        "nats",
        _EPOCH,
        "Falls.",
        "Not falling: lower `--lr`.",
    ),
    MetricKey(
        "epoch",
        "Epochs done",
        "count",
        "with every row",
        "Counts up.",
        "-",
    ),
    MetricKey(
        "trainer/global_step",
        "Steps of the classifier, the horizontal axis (W&B; `step` in metrics.csv)",
        "count",
        "with every row",
        "Counts up; a staged schedule goes on counting updates of the policy.",
        "-",
    ),
)


def metric(key: str) -> MetricKey:
    """Return the entry of a documented key.

    Raises:
        KeyError: If there is none.
    """
    for found in METRICS:
        if found.key == key:
            return found
    raise KeyError(f"{key!r} is not documented: add it to METRICS")


def table(metrics: Sequence[MetricKey] = METRICS) -> str:
    """Return the entries as a Markdown table."""
    columns = ("key", "what it is", "unit", "logged", "healthy", "when it is not")
    rows = [(f"`{one.key}`", one.meaning, one.unit, one.when, one.healthy, one.otherwise) for one in metrics]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ("---",) * len(columns), *rows))


def updated(page: str) -> str:
    """Return the text of a page with the current table.

    Raises:
        ValueError: If the page has no markers for it.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"expected the lines {_BEGIN} and {_END} around the table, found no such place in the page.")
    return f"{before}{begin}\n\n{table()}\n\n{end}{after}"


if __name__ == "__main__":
    write_atomically(PAGE, updated(PAGE.read_text()))
