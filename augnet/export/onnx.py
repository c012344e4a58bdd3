"""Export of a policy as an ONNX graph from images and random numbers to augmented images.

ONNX has no random number generator with the same output in all runtimes, so the random numbers are inputs of the graph:
the caller draws them, and equal numbers give equal pixels everywhere. The metadata of the file describe each input and
the learned policy as JSON under the key `augfluence`.
"""

import json
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augnet.atomic_file import write_atomically
from augnet.batch import Batch
from augnet.fused import Noise
from augnet.network import AugNet
from augnet.ops.base import gaussian_noise
from augnet.space import TransformSpace

METADATA = "augfluence"
VERSION = 1


def export_onnx(
    augnet: AugNet, path: str | Path, height: int, width: int, channels: int = 3, num_classes: int = 0
) -> None:
    """Write the current policy as an ONNX graph for images of one size and any batch size.

    The inputs are `images` `[B, C, H, W]` float32 in [0, 1]; `policy_uniform` `[B, U]`, which the policy maps to
    magnitudes; and for each op OP with noise of its own, `OP_uniform` `[B, ...]` or, for noise of each pixel,
    `OP_normal` `[B, C, H, W]`. All are float32; uniform means independent in [0, 1), normal standard normal. With
    classes there is also an input `labels` `[B, K]` of probabilities. The outputs are `augmented` `[B, C, H, W]` and,
    if an op mixes images, `mixed_labels` `[B, K]`.

    Args:
        augnet: The policy and its space.
        path: The file, ending in `.onnx`; replaced once the new one is complete.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
        channels: C, of the images.
        num_classes: K, for a policy that mixes images or is conditioned on their class; 0 for no labels.

    Raises:
        ImportError: If the packages of the extra `export` are missing.
        ValueError: If `path` does not end in `.onnx`, the images do not fit the ops, or labels are needed.
        OSError: If the file cannot be written; what was there before is then kept.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"expected a file ending in .onnx, found {str(path)!r}")
    if augnet.space.mixes and not num_classes:
        raise ValueError("this policy mixes images and their labels: give num_classes, the number of classes.")
    _require_packages()
    graph = _Graph(augnet)
    inputs = graph.examples(channels, height, width, num_classes)
    graph(**inputs)  # fails here, with the messages of the policy and the space, if the arguments do not match
    write_atomically(path, _to_onnx(graph, inputs).SerializeToString())


class _Graph(nn.Module):
    """A frozen copy of a policy and its space, a pure function of images and random numbers."""

    def __init__(self, augnet: AugNet) -> None:
        super().__init__()
        self.augnet = deepcopy(augnet).cpu().float().requires_grad_(False).eval()

    def forward(
        self, images: Tensor, numbers: Tensor, noise: Noise | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return augmented images, and mixed labels if an op mixes images."""
        magnitudes = self.augnet.policy.magnitudes(images, labels, numbers)
        batch = self.augnet.space.apply_to(Batch(images, labels), magnitudes, noise)
        return (batch.images, batch.labels) if self.augnet.space.mixes and batch.labels is not None else (batch.images,)

    def examples(self, channels: int, height: int, width: int, num_classes: int) -> dict[str, Any]:
        """Return arguments of `forward` for tracing."""
        images = torch.rand(2, channels, height, width)
        arguments = {
            "images": images,
            "numbers": torch.rand(2, self.augnet.policy.numbers_per_image),
            "noise": self.augnet.space.noise(images),
            "labels": torch.full((2, num_classes), 1 / num_classes) if num_classes else None,
        }
        return {name: value for name, value in arguments.items() if value is not None and len(value)}

    def input_names(self, arguments: dict[str, Any]) -> list[str]:
        """Return the names of the inputs in the order of the arguments."""
        ops = self.augnet.space.ops if isinstance(self.augnet.space, TransformSpace) else ()  # fields have no noise
        kinds = {op.name: "normal" if op.noise is gaussian_noise else "uniform" for op in ops if op.noise is not None}
        drawn = [f"{name}_{kind}" for name, kind in kinds.items()]
        return ["images", "policy_uniform", *drawn, *(["labels"] if "labels" in arguments else [])]

    def metadata(self, names: list[str]) -> str:
        """Return the description of inputs and ops for the metadata of the file, as JSON."""
        meanings = {"images": "in [0, 1]", "labels": "probabilities", "uniform": "uniform in [0, 1)"}
        meanings["normal"] = "standard normal"
        facts = {
            "version": VERSION,
            "ops": [{"name": name, **facts} for name, facts in self.augnet.describe().items()],
            "inputs": {name: meanings[name.rsplit("_", 1)[-1]] for name in names},
        }
        return json.dumps(facts)


def _to_onnx(graph: _Graph, arguments: dict[str, Any]) -> Any:
    """Return the graph as an ONNX model with our metadata and without torch's, which hold paths of the source."""
    import onnxscript.optimizer

    rows = {0: torch.export.Dim("batch")}
    shapes = {
        name: dict.fromkeys(value, rows) if isinstance(value, dict) else rows for name, value in arguments.items()
    }
    names = graph.input_names(arguments)
    exported = torch.export.export(graph, (), arguments, dynamic_shapes=shapes, strict=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name")  # all inputs share the batch axis
        program: Any = torch.onnx.export(
            exported,
            input_names=names,
            output_names=["augmented", "mixed_labels"][: 1 + graph.augnet.space.mixes],
            dynamic_shapes=shapes,
            dynamo=True,
            optimize=False,  # takes most of the time, and runtimes optimize graphs themselves
            verbose=False,
        )
    onnxscript.optimizer.fold_constants(program.model)
    onnxscript.optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        del part.metadata_props[:]
    model.metadata_props.add(key=METADATA, value=graph.metadata(names))
    return model


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs the packages onnx and onnxscript ({error}): pip install 'augfluence[export]'"
        ) from error
