"""What the studies of CIFAR-10 at a size for one CPU core share: the training, the arguments, and what they publish."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.exchange_rate.setting import Training
from analysis.result_files import read_result
from augnet.atomic_file import write_atomically
from benchmarks.environment import one_thread, versions

TRAINING = Training(
    steps=600,
    model_kwargs={"width": 8},
    pixel_mean=[0.491, 0.482, 0.447],
    pixel_std=[0.247, 0.243, 0.262],
    accelerator="cpu",
)


def arguments(description: str | None, name: str, seeds: int) -> argparse.ArgumentParser:
    """The arguments that all of them take.

    Args:
        description: For `--help`.
        name: Of the benchmark, in the name of its folder.
        seeds: The number of seeds, unless another is asked for.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="../shared/data/cifar10", help="data, see ImageDataModule")
    parser.add_argument("--seeds", type=int, default=seeds, help="number of seeds, from 0")
    parser.add_argument("--folder", type=Path, default=Path(f"runs/benchmark-{name}"), help="where the runs are")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    return parser


def setting(**facts: Any) -> dict[str, Any]:
    """The machine, what else there is to say, and the versions of the libraries."""
    return {"machine": one_thread(), **facts, **versions(("torch", "pytorch-lightning", "kornia", "scipy"))}


def result_of(folder: Path, name: str) -> dict[str, Any]:
    """What an analysis has left in a folder.

    Raises:
        FileNotFoundError: If there is nothing.
    """
    content = read_result(folder, name)
    if content is None:
        raise FileNotFoundError(f"{folder} has no result; run this again.")
    return content


def publish(output: Path, name: str, content: Mapping[str, Any], page: str, pictures: Mapping[str, Path]) -> None:
    """Write JSON, Markdown and pictures, and print the page.

    Args:
        output: Folder of the results.
        name: Of the JSON and of the Markdown file.
        content: For JSON.
        page: For Markdown.
        pictures: Where each is now, by the name that it gets.
    """
    write_atomically(output / f"{name}.json", json.dumps(content, indent=1) + "\n")
    write_atomically(output / f"{name}.md", page)
    for picture, source in pictures.items():
        write_atomically(output / picture, source.read_bytes())
    print(page)
