"""What Lightning promises a module holds with the callback too: copies, signatures, strategies, several fits."""

import copy
import inspect
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from pytorch_lightning.strategies.xla import XLAStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from toys import CLASSES, OPS, ToyData, ToyNet, blobs, toy_trainer

from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.callbacks.trainer_facts import check_loop
from lightning_modules.learner.settings import LearnerSettings

IMAGES, LABELS = blobs(96, 0, 0)


class Theirs(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = ToyNet()

    def loss(self, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Theirs."""
        return self.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=24)


def learned(**arguments: Any) -> LearnedAugmentation:
    settings: dict[str, Any] = {"learner": LearnerSettings(interval=1, warmup=0), "policy_path": None}
    return LearnedAugmentation(OPS, ToyData().influence, "model", **{**settings, **arguments})


def fit(module: pl.LightningModule, *callbacks: pl.Callback, loaders: Any = None, **arguments: Any) -> None:
    pl.seed_everything(0, verbose=False)
    toy_trainer(callbacks=list(callbacks), **arguments).fit(module, loader() if loaders is None else loaders)


class Copying(pl.Callback):
    """Copies the module in the middle of a step's hooks, and is no part of what can be pickled."""

    def __init__(self, copied: Callable[[pl.LightningModule], Any]) -> None:
        self.copied, self.copies = copied, []  # type: ignore[var-annotated]
        self.file = io.StringIO()
        self.unpicklable = lambda: None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.copies.append(self.copied(pl_module))


def saved(module: pl.LightningModule) -> Any:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, saved, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_module_is_copied_during_fit_as_it_is(copied: Callable[[pl.LightningModule], Any]) -> None:
    module, copying = Theirs(), Copying(copied)
    fit(module, learned(), copying)
    for one in copying.copies:
        assert one is not module
        assert one.training_step.__func__ is Theirs.training_step
        assert one.training_step.__self__ is one
        assert one.training_step((IMAGES, LABELS), 0).isfinite()
    for name, value in copying.copies[-1].model.named_parameters():
        assert torch.equal(value, module.model.get_parameter(name))


def test_a_step_of_the_instance_is_that_of_its_copies() -> None:
    module = Theirs()
    module.training_step = ownstep  # type: ignore[method-assign]
    copying = Copying(copy.deepcopy)
    with pytest.warns(UserWarning, match="did not run the classifier"):
        fit(module, learned(), copying)
    assert copying.copies[0].training_step is ownstep
    assert pickle.loads(pickle.dumps(module)).training_step is ownstep
    assert vars(module)["training_step"] is ownstep


def ownstep(batch: Any, batch_idx: int) -> Tensor:
    return torch.zeros((), requires_grad=True)


def test_the_step_looks_like_that_of_the_module() -> None:
    seen: list[Any] = []
    fit(Theirs(), learned(), Copying(lambda module: seen.append(module.training_step)))
    assert inspect.signature(seen[0]) == inspect.signature(Theirs().training_step)
    assert (seen[0].__name__, seen[0].__doc__) == ("training_step", "Theirs.")


class Short(Theirs):
    def training_step(self, batch: Any) -> Tensor:  # type: ignore[override]
        return self.loss(batch)


class Loaders(Theirs):
    def training_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        assert dataloader_idx == 0
        return self.loss(batch)


class Anything(Theirs):
    def training_step(self, *args: Any) -> Tensor:
        batch, index = args  # what Lightning passes to it
        assert isinstance(index, int)
        return self.loss(batch)


class Keywords(Theirs):
    def training_step(self, batch: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        assert not kwargs
        return self.loss(batch)


@pytest.mark.parametrize("kind", [Short, Loaders, Anything, Keywords])
def test_steps_get_what_lightning_passes_to_them(kind: type[Theirs]) -> None:
    callback = learned()
    fit(kind(), max_steps=1)
    fit(kind(), callback)
    assert callback.learner is not None
    assert callback.learner.updates == 4


def test_a_step_that_reads_its_batches_itself_is_refused() -> None:
    class Reading(Theirs):
        def training_step(self, dataloader_iter: Any) -> Tensor:  # type: ignore[override]
            raise AssertionError("nothing is trained")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own of this signature
        with pytest.raises(ValueError, match=r"reads its batches itself.*training_step\(self, batch, batch_idx\)"):
            fit(Reading(), learned())


@pytest.mark.parametrize("loaders", [{"a": loader(), "b": loader()}, [loader(), loader()]])
def test_several_loaders_are_refused_by_name(loaders: Any) -> None:
    with pytest.raises(ValueError, match="the training has several loaders; the policy needs one of images"):
        fit(Theirs(), learned(), loaders=loaders)


@pytest.mark.parametrize("kind", [FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, XLAStrategy])
def test_strategies_that_divide_the_classifier_are_refused(kind: Any) -> None:
    strategy = object.__new__(kind)
    strategy._launcher = None
    trainer: Any = SimpleNamespace(strategy=strategy)
    with pytest.raises(ValueError, match=rf"trainer.strategy {kind.__name__} .* take auto, or ddp"):
        check_loop(trainer, Theirs(), learns=True)
    check_loop(trainer, Theirs(), learns=False)


def test_the_check_of_the_strategy_comes_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = learned()
    trainer = toy_trainer(callbacks=[callback])
    sharded = type("FSDPStrategy", (type(trainer.strategy),), {})
    monkeypatch.setattr(trainer.strategy, "__class__", sharded)
    with pytest.raises(ValueError, match="shards the classifier, whose last layer the policy cannot be learned from"):
        trainer.fit(Theirs(), loader())
    assert trainer.global_step == 0


def test_each_training_begins_with_the_policy_anew() -> None:
    """One callback in two trainings, as in cross-validation."""
    callback, widths = learned(), []
    for _ in range(2):
        pl.seed_everything(0, verbose=False)
        fit(Theirs(), callback)
        assert callback.learned is not None
        widths.append(callback.learned.describe())
        assert callback.learner is not None
        assert callback.learner.updates == 4
    assert widths[0] == widths[1]


def test_a_second_fit_of_one_module_says_that_the_policy_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module, callback = Theirs(), learned()
    trainer = toy_trainer(callbacks=[callback])
    trainer.fit(module, loader())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    # a command that another test ran may have raised the level
    with caplog.at_level("INFO"), caplog.at_level("INFO", logger="pytorch_lightning.utilities.rank_zero"):
        fit(module, callback)
    assert "goes on from that of the last fit" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        toy_trainer(callbacks=[callback], max_epochs=2).fit(module, loader(), ckpt_path=tmp_path / "end.ckpt")
    assert "goes on from" not in caplog.text


def test_labels_that_no_class_has_are_refused_before_training() -> None:
    labels = LABELS.clone()
    labels[3] = -100

    class Ignoring(Theirs):
        def loss(self, batch: Any) -> Tensor:
            raise AssertionError("nothing is trained")

    with pytest.raises(ValueError, match=rf"labels must lie in 0\.\.{CLASSES - 1} .*got \[-100\]"):
        fit(Ignoring(), learned(), loaders=DataLoader(TensorDataset(IMAGES, labels), batch_size=24))
