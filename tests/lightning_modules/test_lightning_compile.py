"""Under `torch.compile` a run ends where the uncompiled one does: the hooks of the learner see what they need."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from learner_cases import BATCH, make
from torch import Tensor
from toys import ToyNet
from two_ways import WAYS

from lightning_modules.learner.feature_capture import FeatureCapture
from lightning_modules.learner.head import find_last_linear

pytestmark = pytest.mark.slow  # whole runs and commands


@pytest.fixture(autouse=True)
def afresh() -> Any:
    """Nothing compiled before or after."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Counting:
    """The backend `eager`, or another one, that counts the calls of what it compiled."""

    def __init__(self, name: str) -> None:
        self.backend, self.calls = torch._dynamo.lookup_backend(name), 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        compiled = self.backend(graph, inputs)

        def run(*arguments: Any) -> Any:
            self.calls += 1
            return compiled(*arguments)

        return run


def state_after(name: str, folder: Path, compiled: str | None, backend: Any = None) -> dict[str, Tensor]:
    """All weights after two epochs, with or without a part compiled."""
    way = WAYS[name](**({"distinctive": "cosine"} if compiled == "network with a doubled layer" else {}))
    start, module = way.theta, way.module
    whole = None
    if compiled == "module":
        whole = torch.compile(module, backend=backend)
    elif compiled is not None:
        module.network.compile(backend=backend)  # type: ignore[union-attr]
    way.fit(folder, max_epochs=2, compiled=whole)
    way.check_learned(start)
    assert way.learner.updates == 8
    return way.state()


@pytest.fixture(scope="module")
def uncompiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What each way learns as it is."""
    return {name: state_after(name, tmp_path_factory.mktemp(name), None) for name in WAYS}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("compiled", ["module", "network"])
@pytest.mark.parametrize("name", WAYS)
def test_compiled_training_is_the_uncompiled_one(
    name: str, compiled: str, backend: str, uncompiled: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    counting = Counting(backend)
    found = state_after(name, tmp_path, compiled, counting)
    assert counting.calls >= 8
    for key, value in uncompiled[name].items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_a_doubled_layer_is_found_in_a_compiled_network(tmp_path: Path) -> None:
    counting = Counting("eager")
    state = state_after("own", tmp_path, "network with a doubled layer", counting)
    assert any("copy" in key for key in state)
    assert counting.calls > 0


@pytest.mark.parametrize("differentiable", [False, True])
def test_compiled_code_that_knew_no_hook_is_left_out_while_recording(differentiable: bool) -> None:
    model = ToyNet().eval()
    expected = model(BATCH[0])
    counting = Counting("eager")
    model.compile(backend=counting)
    with torch.set_grad_enabled(differentiable):
        model(BATCH[0])
        assert counting.calls == 1
        assert find_last_linear(model, BATCH[0]) is model.head
        features, logits = FeatureCapture(model, model.head)(BATCH[0])
    assert counting.calls == 1
    assert logits.requires_grad == features.requires_grad == differentiable
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(features @ model.head.weight.T + model.head.bias, logits)
    with torch.set_grad_enabled(differentiable):
        model(BATCH[0])
    assert counting.calls == 2


def test_updates_compile_nothing() -> None:
    learner = make()
    counting = Counting("eager")
    learner.capture.model.compile(backend=counting)
    for _ in range(12):
        learner.update(*BATCH)
    assert counting.calls == 0


class Before(pl.Callback):
    """The training step that the module has before the policy is put in front of it."""

    step: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.step = vars(pl_module)["training_step"]


def test_the_callback_leaves_a_compiled_module_compiled(tmp_path: Path) -> None:
    way, before = WAYS["callback"](), Before()
    way.fit(tmp_path, before, max_epochs=1, compiled=torch.compile(way.module, backend="eager"))
    assert vars(way.module)["training_step"] is before.step
