"""Policies on disk: `NAME.json` that people can read, beside `NAME.safetensors` with the exact parameters.

Nothing is unpickled, so a policy file from somebody else is safe to load.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from augnet.atomic_file import write_together
from augnet.network import AugNet

FORMAT = "augfluence-policy"
VERSION = 1


def save_policy(augnet: AugNet, path: str | Path) -> None:
    """Write a policy; neither file is replaced before both are on disk in full.

    Args:
        augnet: The policy and its space.
        path: The JSON file, ending in `.json`; the parameters go beside it with the ending `.safetensors`.

    Raises:
        ValueError: If `path` does not end in `.json`, or a parameter is not a number: a good policy is never
            replaced by a broken one.
        OSError: If the files cannot be written; what was there before is then kept.
    """
    path = _json_path(path)
    ops = [{"name": name, **facts} for name, facts in augnet.describe().items()]
    header = {"format": FORMAT, "version": VERSION, "policy": "range", "ops": ops}
    if any(tensor.isnan().any() for tensor in augnet.policy.state_dict().values()):
        raise ValueError(f"{path}: the policy holds NaN and was not saved; lower the learning rate of the policy.")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in augnet.policy.state_dict().items()}
    write_together({path.with_suffix(".safetensors"): save(tensors), path: json.dumps(header, indent=2) + "\n"})


def load_policy(path: str | Path) -> AugNet:
    """Read a policy as a frozen module for any PyTorch loop: augments in `train()`, not in `eval()`.

    Args:
        path: The JSON file that `save_policy` wrote; the parameters are read from the file beside it with the ending
            `.safetensors`, so the two are renamed together.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If it is no policy file, of another version, or its two files do not agree.
    """
    path = _json_path(path)
    header = _read_header(path)
    try:
        ops = {str(op["name"]): float(op["bound"]) for op in header["ops"]}
        half_widths = {str(op["name"]): float(op["half_width"]) for op in header["ops"]}
        tensors = load_file(path.with_suffix(".safetensors"))
        augnet = AugNet.from_ops(ops).to(tensors["theta"].dtype)
        augnet.policy.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path}: not a complete policy file ({error}); save it again with save_policy.") from error
    for name, facts in augnet.describe().items():
        for fact, here in (("bound", ops[name]), ("half_width", half_widths[name])):
            if not math.isclose(here, float(facts[fact]), rel_tol=1e-4, abs_tol=1e-6):
                raise ValueError(
                    f"{path}: the {fact} of {name} is {here:g} here and {facts[fact]:g} in the .safetensors file "
                    "beside it: the two files are not of the same policy, or one was edited."
                )
    return augnet.requires_grad_(False)


def _json_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"expected a policy file ending in .json, found {str(path)!r}")
    return path


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a policy file, it is no JSON ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f'{path}: not a policy file, expected "format": "{FORMAT}".')
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path}: policy file of version {header.get('version')}, this augfluence reads version {VERSION}; "
            "install the release that wrote it, or save the policy again."
        )
    return header
