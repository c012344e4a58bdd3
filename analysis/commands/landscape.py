"""The command `landscape`: flatness and gradient noise of a run."""

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console

from lightning_modules.monitoring.progress import progress_bar

from ..landscape.directions import Tensors, filter_weights
from ..landscape.flatness import flatness, random_walks
from ..landscape.gradient_noise import SpreadOfVectors, summarize
from ..landscape.landscape_report import landscape_table, plot_walks
from ..landscape.loss_surface import LossSurface, flat, in_filter_units
from ..results import write_result
from ..run_folder import open_run


def landscape(
    run: str,
    device: str = "auto",
    data_path: str | None = None,
    images: int = 2000,
    directions: int = 10,
    threshold: float = 1.0,
    step: float = 0.1,
    longest: float = 5.0,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> None:
    """Measure the flatness of the minimum of a run and the noise of its gradients (Geiping et al., 2023).

    Writes `RUN/analysis/landscape.json` and a picture. Both are measured on training images without augmentation, in
    evaluation mode.

    Args:
        run: Folder of the run, `runs/NAME`.
        device: `auto`, or a name that torch knows.
        data_path: Present place of the data, if they have moved since the run.
        images: Training images to measure on, drawn at random.
        directions: Random directions that flatness is averaged over.
        threshold: Loss at which a walk ends.
        step: Length of a step in units of the norms of the filters.
        longest: Length of the longest walk.
        batch_size: Images of a batch gradient; at least two batches.
        seed: Seed of the images and directions.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If an argument makes no sense.
    """
    opened = open_run(run, device, data_path)
    opened.data.check_one_label("landscape")
    train = opened.data.splits.train
    if not 1 <= batch_size <= min(images, len(train)) // 2:
        raise ValueError(
            f"batch_size: two batches of {batch_size} do not fit into {min(images, len(train))} images; lower it."
        )
    surface = LossSurface.of(opened.model, train, images, seed)
    weights = filter_weights(opened.model.network)
    with progress_bar(progress) as bar:
        task = bar.add_task("directions", total=directions)
        walks = random_walks(
            surface.loss, weights, directions, threshold, step, longest, seed, lambda: bar.update(task, advance=1)
        )
    distances = [walk.distance for walk in walks]
    facts = {**flatness(walks, weights), "distances": distances, "reached": sum(map(math.isfinite, distances))}
    noise = _noise(surface, weights, batch_size)
    result = _finite({"flatness": facts, "gradient_noise": noise, "train_loss": walks[0].losses[0]})
    settings = {"images": len(surface.labels), "directions": directions, "threshold": threshold, "step": step}
    settings |= {"longest": longest, "batch_size": batch_size}
    figures = {"walks": plot_walks(walks, threshold)}
    files = write_result(run, "landscape", result, settings=settings, seed=seed, figures=figures)
    console = Console()
    console.print(landscape_table(result).rich())
    for file in files:
        console.print(f"Written: {file}", soft_wrap=True)


def _noise(surface: LossSurface, weights: Tensors, batch_size: int) -> dict[str, Any]:
    """Return the gradient noise of all parameters, and of the weights in filter units."""
    seen = {"parameters": SpreadOfVectors(), "filter_units": SpreadOfVectors()}
    for gradient in surface.gradients(batch_size):
        seen["parameters"].update(flat(gradient))
        seen["filter_units"].update(flat(in_filter_units(gradient, weights)))
    return {name: asdict(summarize(spread, batch_size)) for name, spread in seen.items()}


def _finite(value: Any) -> Any:
    """Return a result with None for its numbers that are infinite or NaN, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
