"""Figures of the moments analysis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from .augmentations import Augmentation, Budget, Example
from .influence_estimates import ESTIMATES
from .sample_size import TargetPrecision

_ACROSS = 7  # augmentations beside each other
_KINDS = {"loss": ("loss of one image", "o"), "image": ("mean image", "s"), "covariance": ("covariance (order)", "^")}
_LABELS = {"mean_image": "mean image alone", "second_order": "second order", "steps": "second order, steps"}


def samples_picture(rows: Sequence[Mapping[str, Any]], precision: TargetPrecision, epochs: int | None) -> Figure:
    """Draw the samples that each augmentation of `summarize` needs: medians over images, for the loss with quartiles.

    The epochs are the draws of each image that the run saw, for comparison.
    """
    figure = Figure(figsize=(8, 0.34 * len(rows) + 1.6), layout="constrained")
    axis = figure.subplots()
    places = list(range(len(rows)))
    for kind, (label, marker) in _KINDS.items():
        low, median, high = (_known(row["samples"][kind][part] for row in rows) for part in ("low", "median", "high"))
        if kind == "loss":
            axis.hlines(places, low, np.where(np.isnan(high), median, high), color="C0", alpha=0.5)
        axis.plot(median, places, marker, label=label)
    axis.plot(_known(row["samples_mean_loss"] for row in rows), places, "x", label="mean loss of the images")
    axis.axvspan(1e4, 1e5, color="0.9", zorder=0, label="tens of thousands")
    if epochs is not None and epochs > 0:
        axis.axvline(epochs, color="0.4", linestyle=":", label=f"epochs of this run ({epochs})")
    axis.set(xscale="log", yticks=places, yticklabels=[row["augmentation"] for row in rows])
    axis.set_xlabel(f"draws for {100 * precision.error:g} % at {100 * precision.confidence:g} % confidence")
    axis.invert_yaxis()
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def influence_picture(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the unexplained share of estimates over the strength of the augmentation, from `compare_influence`."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    figure = Figure(figsize=(2.6 * len(families), 3.2), layout="constrained")
    axes = figure.subplots(1, len(families), squeeze=False, sharey=True)[0]
    for axis, family in zip(axes, families, strict=True):
        own = [row for row in rows if row["family"] == family]
        for name, marker in zip(ESTIMATES, ("o--", "s-", "^-"), strict=True):
            shares = _known(row["unexplained"][name] for row in own)
            axis.plot([row["strength"] for row in own], shares, marker, label=_LABELS[name], markersize=4)
        axis.axhline(1, color="0.6", linestyle=":")
        axis.set(xscale="log", yscale="log", title=family, xlabel="share of full strength")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("unexplained share of the change")
    axes[-1].legend(frameon=False, fontsize=8)
    return figure


def image_picture(augmentations: Mapping[str, Augmentation], example: Example, budget: Budget) -> Figure:
    """Draw mean, standard deviation and first principal direction of one image under each augmentation."""
    across = min(_ACROSS, len(augmentations))
    bands = -(-len(augmentations) // across)
    figure = Figure(figsize=(1.05 * across + 0.6, 3.6 * bands), layout="constrained")
    axes = figure.subplots(3 * bands, across, squeeze=False, subplot_kw={"xticks": [], "yticks": [], "frame_on": False})
    for place, (name, augmentation) in enumerate(augmentations.items()):
        band, column = divmod(place, across)
        own = axes[3 * band : 3 * band + 3, column]
        found = augmentation(example, budget).moments
        leading = found.compressed(1).factor[0]
        deviation, scale = found.variance.sqrt(), leading.abs().max().clamp(min=1e-9)
        pictures = (found.mean, deviation / deviation.max().clamp(min=1e-9), 0.5 + leading / scale / 2)
        for axis, picture in zip(own, pictures, strict=True):
            axis.imshow(_pixels(picture), cmap="gray", vmin=0, vmax=1)
        own[0].set_title(name, fontsize=7)
    for row, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(("mean", "deviation", "principal")[row % 3], fontsize=8)
    return figure


def _known(values: Iterable[float | None]) -> NDArray[np.float64]:
    """Return numbers with NaN, which is not drawn, for None."""
    return np.array(list(values), dtype=float)


def _pixels(image: Tensor) -> Any:
    pixels = image.detach().cpu().clamp(0, 1)
    return (pixels[0] if len(pixels) != 3 else pixels.permute(1, 2, 0)).numpy()
