"""Networks by name, of timm, pytorchcv, or any class by its import path."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn


def build_model(name: str, num_classes: int, in_channels: int = 3, **kwargs: Any) -> nn.Module:
    """Build a network that classifies images.

    Args:
        name: `timm/NAME`, `pytorchcv/NAME`, or the import path `package.module.Class` of a class or
            function that takes `num_classes` and, if it has such a parameter, `in_channels`.
        num_classes: Number of classes, K.
        in_channels: Channels of the images: 1 for gray, 3 for RGB.
        **kwargs: Further arguments of the model, for instance `pretrained=True` (default: random weights).

    Returns:
        The model: images `[B, C, H, W]` to logits `[B, K]`.

    Raises:
        ValueError: If there is no such model (the message names similar ones), or it does not accept the arguments.
    """
    library, _, model = name.partition("/")
    if num_classes < 1 or in_channels < 1:
        raise ValueError(f"num_classes={num_classes} and in_channels={in_channels} must be positive.")
    if library == "timm" and model:
        return _build_timm(model, num_classes, in_channels, kwargs)
    if library == "pytorchcv" and model:
        return _build_pytorchcv(model, num_classes, in_channels, kwargs)
    if "/" in name or "." not in name:
        raise ValueError(
            f"unknown model {name!r}: give timm/NAME, pytorchcv/NAME or an import path package.module.Class."
            + _suggestion(model or name, (f"timm/{known}" for known in _timm_names()))
        )
    factory = _import(name)
    arguments = {"num_classes": num_classes, **kwargs}
    if "in_channels" in inspect.signature(factory).parameters:
        arguments["in_channels"] = in_channels
    return _call(name, factory, arguments)


def _build_timm(model: str, num_classes: int, in_channels: int, kwargs: dict[str, Any]) -> nn.Module:
    import timm  # here, as its import takes seconds

    if not timm.is_model(model):
        raise ValueError(f"timm has no model {model!r}.{_suggestion(model, _timm_names())}")
    arguments = {"model_name": model, "num_classes": num_classes, "in_chans": in_channels, **kwargs}
    return _call(f"timm/{model}", timm.create_model, arguments)


def _timm_names() -> list[str]:
    import timm

    return list(timm.list_models())


def _build_pytorchcv(model: str, num_classes: int, in_channels: int, kwargs: dict[str, Any]) -> nn.Module:
    from pytorchcv import model_provider

    names = [name for name, value in vars(model_provider).items() if inspect.isfunction(value)]
    names.remove("get_model")
    if model not in names:
        raise ValueError(f"pytorchcv has no model {model!r}.{_suggestion(model, names)}")
    arguments = {"name": model, **kwargs}
    if in_channels != 3:  # the few models without this argument are for RGB
        arguments["in_channels"] = in_channels
    try:
        return _call(f"pytorchcv/{model}", model_provider.get_model, {**arguments, "num_classes": num_classes})
    except AssertionError:  # the CIFAR families accept only 10 or 100 classes: replace the head
        network = _call(f"pytorchcv/{model}", model_provider.get_model, arguments)
    head: Any = getattr(network, "output", None)
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"pytorchcv/{model} is made for 10 or 100 classes and has no linear head to replace: choose another."
        )
    network.output = nn.Linear(head.in_features, num_classes)
    return network


def _import(name: str) -> Callable[..., Any]:
    """Return the class or function at an import path."""
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"unknown model {name!r}: {error}; check the import path.") from error
    if not callable(getattr(module, attribute, None)):
        close = _suggestion(attribute, dir(module))
        raise ValueError(f"module {module_name} has no class or function {attribute!r}.{close}")
    factory: Callable[..., Any] = getattr(module, attribute)
    return factory


def _call(name: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> nn.Module:
    """Call the factory; raise ValueError if it does not accept the arguments, or returns no module."""
    try:
        model = factory(**arguments)
    except OSError as error:
        if not arguments.get("pretrained"):
            raise
        raise ValueError(
            f"model {name!r}: its pretrained weights could not be loaded ({error}). They are downloaded once: connect "
            "to the network, or leave pretrained out of model.model_kwargs for random weights."
        ) from error
    except (TypeError, RuntimeError, AttributeError, KeyError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ValueError(f"model {name!r} cannot be built with {given}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name!r} gave a {type(model).__name__}, expected a torch.nn.Module.")
    return model


def _suggestion(name: str, known: Iterable[str]) -> str:
    """Suggest known names: first those that begin with the given one, then similar ones."""
    names = sorted(known)
    longer = [other for other in names if other.startswith(f"{name}_")]
    close = list(dict.fromkeys([*longer[:2], *difflib.get_close_matches(name, names, n=3)]))
    return f" Did you mean {' or '.join(close)}?" if close else ""
