"""Error of K-priors and of replay for logistic regression, by memory (docs/method.md, "K-priors").

`python -m benchmarks.k_priors_glm` fits 600 points, adds 60 shifted ones, adapts from memories of 2 to 100 %, and
compares the probabilities with those of retraining on all 660; prints a table and writes `k_priors_glm.json` and
`k_priors_glm.md` into `benchmarks/results`.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import get_args

import torch
from torch import Generator, Tensor

from augnet.atomic_file import write_atomically
from influence import Samples, adapt_head, append_bias, refit_head, remember, select_memory
from influence.k_priors import Memory, Selection

POINTS, ADDED, FEATURES, DELTA, SHIFT = 600, 60, 10, 5.0, 1.0
FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def draw(count: int, shift: float, slope: Tensor, generator: Generator) -> Samples:
    """Points whose labels follow a logistic model, moved by `shift` in every feature."""
    features = torch.randn(count, FEATURES, generator=generator, dtype=torch.float64) + shift
    chance = (features @ slope).sigmoid()
    return Samples(features, (torch.rand(count, generator=generator, dtype=torch.float64) < chance).long())


def fit(samples: Samples, weights: Tensor | None = None) -> Tensor:
    """Minimise the sum, decay `DELTA`; weights count points."""
    return refit_head(samples, 2, weight_decay=DELTA / len(samples.features), weights=weights)


def errors(seed: int) -> dict[str, float]:
    """Mean distance to the retrained probabilities, on all points, of every method and memory."""
    generator = Generator().manual_seed(seed)
    slope = torch.randn(FEATURES, generator=generator, dtype=torch.float64)
    past, new = draw(POINTS, 0.0, slope, generator), draw(ADDED, SHIFT, slope, generator)
    whole = Samples(*(torch.cat(pair) for pair in zip(past, new, strict=True)))
    rows = append_bias(whole.features)
    head, target = fit(past), (rows @ fit(whole).T).softmax(dim=1)

    def error(found: Tensor) -> float:
        return float((rows @ found.T).softmax(dim=1).sub(target).abs().mean())

    nothing = remember(past.features[:1], head, DELTA, torch.zeros(1))
    found = {"no memory": error(adapt_head(nothing, added=new))}
    probs = (append_bias(past.features) @ head.T).softmax(dim=1)
    for fraction in FRACTIONS:
        for selection in get_args(Selection):
            memory: Memory = select_memory(probs, round(fraction * POINTS), selection, generator)
            prior = remember(past.features[memory.rows], head, DELTA, memory.weights)
            found[f"K-prior {selection} {fraction}"] = error(adapt_head(prior, added=new))
            kept = Samples(*(torch.cat([old[memory.rows], more]) for old, more in zip(past, new, strict=True)))
            counts = torch.cat([memory.weights, torch.ones(ADDED)])
            found[f"replay {selection} {fraction}"] = error(fit(kept, counts))
    return found


def table(runs: list[dict[str, float]]) -> str:
    """Markdown: one row a memory, mean over seeds."""
    columns = [(method, selection) for method in ("K-prior", "replay") for selection in get_args(Selection)]
    lines = [
        "| memory | " + " | ".join(f"{method}, {selection}" for method, selection in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for fraction in FRACTIONS:
        means = [fmean(run[f"{method} {selection} {fraction}"] for run in runs) for method, selection in columns]
        lines.append(f"| {fraction:.0%} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")
    weight_term = fmean(run["no memory"] for run in runs)
    return "\n".join(lines) + f"\n\nWeight term alone, without a memory: {weight_term:.4f}.\n"


def main() -> None:
    """Run all seeds, print the table, write JSON and markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30, help="number of seeds, from 0")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    runs = [errors(seed) for seed in range(options.seeds)]
    setting = {
        "past": POINTS,
        "added": ADDED,
        "features": FEATURES,
        "delta": DELTA,
        "shift": SHIFT,
        "torch": torch.__version__,
    }
    rounded = [{name: round(value, 6) for name, value in run.items()} for run in runs]
    write_atomically(options.output / "k_priors_glm.json", json.dumps({"setting": setting, "runs": rounded}) + "\n")
    write_atomically(options.output / "k_priors_glm.md", table(runs))
    print(table(runs))


if __name__ == "__main__":
    main()
