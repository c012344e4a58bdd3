"""The benchmark of a training step: the command runs, its numbers follow from the raw ones, every arm trains."""

import io
import json
import os
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.step_cost import cost_tables as tables
from benchmarks.step_cost.__main__ import FACTORS, growth, main, markdown
from benchmarks.step_cost.arms import ARMS, MODELS
from benchmarks.step_cost.modules import WideFeatures
from benchmarks.step_cost.rounds import Worker
from benchmarks.step_cost.task import LEARNING, Task
from benchmarks.step_cost.worker import Blocks, fit
from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.learner.settings import LearnerSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command writes for two arms on small batches."""
    folder = tmp_path_factory.mktemp("step_cost")
    size = ["--batch=32", "--influence=10", "--threads=1", "--rounds=3", "--steps=2", "--interval=1"]
    command = ["--models=[WRN-16-1]", "--arms=[learned, plain]", "--factors=[]", *size, "--precision=32-true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        main([*command, f"--out={folder}"])
    loaded: dict[str, Any] = json.loads((folder / "step_cost.json").read_text())
    assert (folder / "step_cost.md").read_text() == markdown(loaded["setting"], loaded["rows"])
    return loaded


@pytest.mark.long
@pytest.mark.slow
def test_ratios_follow_from_the_blocks(results: dict[str, Any]) -> None:
    learned, plain = results["rows"]
    assert (learned["arm"], plain["arm"]) == ("learned", "plain")
    cycle = LearnerSettings().refresh
    assert (learned["block_steps"] % cycle, plain["block_steps"]) == (0, 2)
    for row in (learned, plain):
        assert len(row["block_seconds"]) == 3
        assert min(row["block_seconds"]) > 0
        assert row["peak"] > row["baseline"] > 0
        steps = sorted(seconds / row["block_steps"] for seconds in row["block_seconds"])
        assert row["seconds_per_step"]["median"] == steps[1]
    pairs = zip(learned["block_seconds"], plain["block_seconds"], strict=True)
    ratios = [(ours / learned["block_steps"]) / (theirs / 2) for ours, theirs in pairs]
    assert learned["time_ratio"]["median"] == pytest.approx(median(ratios))
    assert min(ratios) <= learned["time_ratio"]["lower"] <= learned["time_ratio"]["upper"] <= max(ratios)
    above = (learned["peak"] - learned["baseline"]) / (plain["peak"] - plain["baseline"])
    assert learned["memory_ratio"] == pytest.approx(above)
    assert learned["process_ratio"] == pytest.approx(learned["peak"] / plain["peak"])
    assert plain["time_ratio"]["median"] == plain["memory_ratio"] == 1
    assert results["setting"]["torch"] == torch.__version__.split("+")[0]


def tiny(arm: str, **settings: Any) -> Task:
    fields: dict[str, Any] = {"group": "x", "model": "WRN-16-1", "rounds": 1, "steps": 1, "batch": 4, "influence": 10}
    return Task(arm=arm, **fields | {"interval": 1, "precision": "32-true"} | settings)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_and_the_learned_ones_learn(arm: str) -> None:
    pl.seed_everything(0, verbose=False)
    task = tiny(arm)
    run = ARMS[arm].build(task)
    before = [parameter.detach().clone() for parameter in run.module.parameters() if parameter.requires_grad]
    fit(run, task)
    after = [parameter for parameter in run.module.parameters() if parameter.requires_grad]
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    learners = [part.learner for part in (run.module, *run.callbacks) if isinstance(part, _LEARNS)]
    assert (arm in LEARNING) == (len(learners) == 1)
    assert [learner.updates for learner in learners if learner is not None] == [2] * len(learners)


_LEARNS = (AugmentedClassifier, LearnedAugmentation)


class Seen(pl.Callback):
    """The images that reach the network."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.network.register_forward_pre_hook(
            lambda module, args: self.images.append(args[0]) if module.training else None
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "arm", ["trivial_augment", "kornia", "kornia_per_sample", "torchvision_0", "learned", "callback"]
)
def test_augmented_arms_change_the_images(arm: str) -> None:
    def images(arm: str) -> Tensor:
        pl.seed_everything(0, verbose=False)
        task, seen = tiny(arm, batch=16), Seen()
        run = ARMS[arm].build(task)
        fit(run._replace(callbacks=[*run.callbacks, seen]), task)
        return torch.cat(seen.images)

    plain = {"torchvision_0": "loader_0", "callback": "foreign"}.get(arm, "plain")
    assert images(arm).shape == images(plain).shape == (32, 3, 32, 32)
    originals = images(plain).flatten(1)
    distances = torch.cdist(images(arm).flatten(1), originals).amin(dim=1)
    assert (distances > 1e-2).float().mean() > 0.3


@pytest.mark.parametrize("model", MODELS)
def test_models_take_other_numbers_of_classes(model: str) -> None:
    run = ARMS["plain"].build(tiny("plain", model=model, classes=100))
    assert run.module(torch.rand(2, 3, 32, 32)).shape == (2, 100)


def test_blocks_hold_whole_cycles() -> None:
    task = tiny("learned", interval=25, steps=40, batch=128)
    cycle = 25 * task.learner.refresh
    assert task.block_steps % cycle == 0
    assert 40 <= task.block_steps < 40 + cycle
    assert tiny("plain", interval=25, steps=40).block_steps == 40
    assert task.warm_up // 25 * 128 >= task.learner.hessian_rows  # the bank is full


@pytest.mark.parametrize("factor", FACTORS)
def test_growth_moves_one_setting_and_has_its_reference(factor: str) -> None:
    tasks = growth(factor, {"rounds": 1, "steps": 1})
    learned = [task for task in tasks if task.arm == "learned"]
    assert tuple(getattr(task, factor) for task in learned) == FACTORS[factor][1]
    fields = ("classes", "features", "influence", "interval")
    assert len({tuple(getattr(task, name) for name in fields if name != factor) for task in learned}) == 1
    plain = {(task.classes, task.features) for task in tasks if task.arm == "plain"}
    assert plain == {(task.classes, task.features) for task in learned}


def test_features_of_any_width() -> None:
    task = tiny("learned", features=256)
    run = ARMS["learned"].build(task)
    (network,) = (module for module in run.module.modules() if isinstance(module, WideFeatures))
    assert network.head.in_features == 256
    fit(run, task)
    assert isinstance(run.module, AugmentedClassifier)
    assert run.module.learner is not None
    assert run.module.learner.influence.solution is not None
    assert run.module.learner.influence.solution.value.shape == (10, 257)


def row(arm: str, seconds: list[float], peak: float = 300.0, loaders: float = 0.0, **settings: Any) -> dict[str, Any]:
    fields = {"group": "WRN-16-1", "model": "WRN-16-1", "arm": arm, "classes": 10, "features": 0, "block_steps": 10}
    return fields | {"block_seconds": seconds, "baseline": 200.0, "peak": peak, "loaders": loaders} | settings


def test_a_slow_round_changes_no_ratio_and_the_goals_say_so() -> None:
    plain, other = row("plain", [1.0, 8.0, 1.0]), row("plain", [5.0, 5.0, 5.0], classes=100)
    ours, kornia = row("learned", [1.2, 9.6, 1.2], peak=320), row("kornia", [1.1, 8.8, 1.1], peak=290, loaders=30)
    summarised = tables.summarised([ours, kornia, other, plain])
    assert summarised[0]["time_ratio"] == pytest.approx({"median": 1.2, "lower": 1.2, "upper": 1.2})
    assert summarised[0]["memory_ratio"] == summarised[1]["memory_ratio"] == pytest.approx(1.2)
    assert summarised[1]["process_ratio"] == pytest.approx(320 / 300)
    text = tables.goals(summarised)
    assert "time of learned / plain: at most 1.25 is **met** (1.20)" in text
    assert "memory of learned / plain: at most 1.1 is **missed** (1.20)" in text
    assert "faster than kornia TrivialAugment, one op a batch: **missed** (0.92 x its time)" in text


def test_an_arm_without_its_reference_has_no_ratio() -> None:
    (alone,) = tables.summarised([row("learned", [1.0])])
    assert "time_ratio" not in alone
    assert tables.goals([alone]) == ""
    assert "| learned | 0.1000 (0.1000 - 0.1000) | - | 100 | - | 300 | - |" in tables.table([alone], "x", ["learned"])


def test_a_process_does_not_outlive_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    task, trainer, module = tiny("plain"), pl.Trainer(logger=False, barebones=True), pl.LightningModule()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(RuntimeError, match="has ended"):
            Blocks(task).on_train_batch_start(trainer, module, None, task.warm_up)
    blocks = Blocks(task)
    blocks.on_train_batch_start(trainer, module, None, 0)
    monkeypatch.setattr(os, "getppid", lambda: -1)
    with pytest.raises(RuntimeError, match="has ended"):
        blocks.on_train_batch_start(trainer, module, None, 0)


@pytest.mark.long
@pytest.mark.slow
def test_a_process_that_ends_early_says_why() -> None:
    with Worker(tiny("nothing")) as worker:
        assert worker.receive() == {"ready": True}
        with pytest.raises(RuntimeError, match=r"nothing ended early[\s\S]*KeyError"):
            worker.ask()


@pytest.mark.parametrize("field", ["models", "arms", "factors"])
def test_names_that_do_not_exist_are_one_line(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--{field}=[nothing]"])
    assert f"error: {field}: there is no 'nothing'; known are " in capsys.readouterr().err
