"""Policy files: a readable `NAME.json` and the exact parameters in `NAME.safetensors`.

Nothing is unpickled, so policy files from others are safe to load.
"""

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from augnet.atomic_file import write_together
from augnet.network import AugNet
from augnet.ops.registry import FORMER_NAMES
from augnet.policies import POLICIES
from augnet.policies.base import Description

FORMAT = "augfluence-policy"
VERSION = 2
_READ = (1, 2)  # version 1: range policies with bilinear resampling only


def save_policy(augnet: AugNet[Any, Any], path: str | Path) -> None:
    """Write a policy; neither file is replaced before both are on disk in full.

    Args:
        augnet: The policy and its space.
        path: The JSON file, ending in `.json`; the parameters are written beside it, ending in `.safetensors`.

    Raises:
        ValueError: If `path` does not end in `.json`, a parameter is NaN, or the policy is of no kind that
            `load_policy` knows; older files are then kept.
        OSError: If the files cannot be written; older files are then kept.
    """
    path = _json_path(path)
    if POLICIES.get(augnet.policy.kind) is not type(augnet.policy):
        raise ValueError(f"expected a policy of kind {', '.join(POLICIES)}, found {type(augnet.policy).__name__}")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "policy": augnet.policy.kind,
        "settings": augnet.policy.config(),
        **augnet.space.config(),
        augnet.space.parts: [{"name": name, **facts} for name, facts in augnet.describe().items()],
    }
    if any(tensor.isnan().any() for tensor in augnet.policy.state_dict().values()):
        raise ValueError(f"{path}: the policy holds NaN and was not saved; lower the learning rate of the policy.")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in augnet.policy.state_dict().items()}
    write_together({path.with_suffix(".safetensors"): save(tensors), path: json.dumps(header, indent=2) + "\n"})


def load_policy(path: str | Path) -> AugNet[Any, Any]:
    """Read a policy as a frozen module that augments in `train()` and not in `eval()`.

    Args:
        path: The JSON file that `save_policy` wrote; the parameters are read from the file of the same name ending in
            `.safetensors`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If it is no policy file, of an unknown version, or its two files disagree.
    """
    path = _json_path(path)
    _require_file(path)
    header = _read_header(path)
    _require_file(path.with_suffix(".safetensors"))
    try:
        tensors = load_file(path.with_suffix(".safetensors"))
        dtype = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), None)
        if dtype is None:
            raise ValueError("no parameters in the .safetensors file")
        augnet = _build(header).to(dtype)
        parts = augnet.space.parts
        written = {_name(part): {str(fact): value for fact, value in part.items()} for part in header[parts]}
        _compare(parts, written, _constant_facts(augnet.describe()), "under bounds")
        augnet.policy.load_state_dict(tensors)
        _compare(parts, written, augnet.describe(), "in the .safetensors file beside it")
    except _DisagreementError as error:
        raise ValueError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, SafetensorError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: not a complete policy file ({reason}); save it again with save_policy.") from error
    return augnet.requires_grad_(False)


def _name(part: dict[str, Any]) -> str:
    """Return the current name of an op or fact, without a warning of former names, which the space gives."""
    name = str(part["name"])
    return FORMER_NAMES.get(name, name)


class _DisagreementError(Exception):
    """A contradiction between two parts of a policy file."""


def _build(header: dict[str, Any]) -> AugNet[Any, Any]:
    """Build the network of a header with new parameters."""
    if header["version"] == 1:
        bounds = {op["name"]: op["bound"] for op in header["ops"]}
        header = {**header, "settings": {}, "interpolation": "bilinear", "bounds": bounds}
    if header["policy"] not in POLICIES:
        raise ValueError(f"unknown kind of policy {header['policy']!r}, known are {', '.join(POLICIES)}")
    policy = POLICIES[header["policy"]]
    space = policy.space_type.from_config(header)
    built = policy.from_config(header["settings"], space)
    unknown = sorted(set(header["settings"]) - set(built.config()))
    if unknown:
        raise ValueError(f"unknown settings {', '.join(unknown)}")
    return AugNet(space, built)


def _constant_facts(described: Description) -> Description:
    """Return the facts that do not depend on parameters."""
    return {
        name: {fact: facts[fact] for fact in ("bound", "unit") if fact in facts} for name, facts in described.items()
    }


def _compare(parts: str, written: Description, found: Description, where: str) -> None:
    """Raise `_DisagreementError` unless the written parts equal those found elsewhere."""
    if list(written) != list(found):
        raise _DisagreementError(f"the {parts} are {', '.join(written)} here, expected {', '.join(found)}.")
    for name, known in found.items():
        for fact in known:
            here = written[name][fact]
            if not _close(here, known[fact]):
                raise _DisagreementError(
                    f"the {fact} of {name} is {here} here and {known[fact]} {where}: the two are not of the same "
                    "policy, or one was edited."
                )


def _close(here: Any, there: Any) -> bool:
    if isinstance(there, list):
        return len(here) == len(there) and all(map(_close, here, there))
    if isinstance(there, str):
        return bool(here == there)
    return math.isclose(float(here), float(there), rel_tol=1e-4, abs_tol=1e-6)


def _json_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".json":
        raise ValueError(f"expected a policy file ending in .json, found {str(path)!r}")
    return path


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path}: expected a file of a policy, found a folder.")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: a policy is a .json file and its .safetensors beside it.")


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a policy file, it is no JSON ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f'{path}: not a policy file, expected "format": "{FORMAT}".')
    if header.get("version") not in _READ:
        raise ValueError(
            f"{path}: policy file of version {header.get('version')}, this augfluence reads "
            f"version {' and '.join(map(str, _READ))}; "
            "install the release that wrote it, or save the policy again."
        )
    return header
