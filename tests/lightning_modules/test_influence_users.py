"""Who uses the influence set in a training: the policy, the weights and labels of samples, or nobody."""

import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from image_files import hashes
from pytorch_lightning.callbacks import Checkpoint, LambdaCallback
from torch import Tensor
from toys import ToyData, toy_classifier, toy_trainer

from augnet import load_policy
from lightning_modules.callbacks import SampleWriter
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.commands.cli import AugfluenceCLI, main
from lightning_modules.data import DigitsDataModule, wrong_domain
from lightning_modules.data.labelled_images import LabelledImages
from lightning_modules.data.store import MemoryStore
from lightning_modules.learner.sample_weights import SampleSettings, SampleWeights
from lightning_modules.learner.settings import LearnerSettings

ROOT = Path(__file__).parents[2]


def digits(batch_size: int = 128, **arguments: Any) -> DigitsDataModule:
    return DigitsDataModule(image_size=8, batch_size=batch_size, **arguments)


def digit_classifier(**arguments: Any) -> AugmentedClassifier:
    settings = {
        "num_classes": 10,
        "ops": {"rotation": 90.0},
        "model": "lightning_modules.classifier.models.SmallConvNet",
    }
    return toy_classifier(**{**settings, "model_kwargs": {"width": 2}, **arguments})


# Cross-fitting


@pytest.mark.slow
def test_no_image_steers_its_own_augmentation_and_every_image_trains() -> None:
    """Watched in a real training: what the learner is updated on, and from what it has its S at that moment."""
    data, module = digits(influence_source="cross_fit", folds=4), digit_classifier()
    seen: list[tuple[set[bytes], set[bytes]]] = []
    trained: set[int] = set()

    class Watched(type(module)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            trained.update(batch[2].tolist())
            return super().training_step(batch, batch_idx)  # type: ignore[no-any-return]

    def watch(trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        seen.append((set(hashes(batch[0])), set(hashes(module.learner.influence.influence_set[0]))))

    module.__class__ = Watched
    watching = LambdaCallback(on_train_batch_end=watch)
    toy_trainer(max_epochs=5, limit_val_batches=0, callbacks=[watching]).fit(module, datamodule=data)
    assert module.learner is not None
    assert module.learner.updates == len(seen)
    assert all(batch.isdisjoint(held_out) for batch, held_out in seen)
    assert len({frozenset(held_out) for _, held_out in seen}) == 4
    assert trained == set(range(data.num_train_rows))


def test_once_the_policy_stays_as_it_is_no_fold_is_held_back_for_it() -> None:
    data = digits(influence_source="cross_fit", folds=4, fold_epochs=3)
    module = digit_classifier(learner=LearnerSettings(interval=1, warmup=0, until=0.3))
    released: list[int] = []
    release = data.release

    def watched() -> None:
        released.append(module.current_epoch)
        release()

    data.release = watched  # type: ignore[method-assign]
    toy_trainer(max_epochs=6, limit_val_batches=0, limit_train_batches=4).fit(module, datamodule=data)
    assert module.learner is not None
    assert module.learner.finished
    assert released == [2, 3, 4, 5]


def test_plain_training_uses_all_folds() -> None:
    data = digits(influence_source="cross_fit", folds=3, fold_epochs=50)
    module, trained = digit_classifier(control="plain"), set()
    step = module.training_step

    def training_step(batch: Any, batch_idx: int) -> Tensor:
        trained.update(batch[2].tolist())
        return step(batch, batch_idx)

    module.training_step = training_step  # type: ignore[method-assign]
    toy_trainer(max_epochs=4, limit_val_batches=0).fit(module, datamodule=data)
    assert trained == set(range(data.num_train_rows))


# The wrong domain


def test_the_wrong_domain_is_that_of_the_influence_set_and_nothing_else() -> None:
    module, data = toy_classifier(control="wrong_domain"), ToyData()
    toy_trainer().fit(module, data)
    assert module.learner is not None
    images, labels = module.learner.influence.influence_set
    assert torch.equal(images, wrong_domain(data.influence[0]))
    assert torch.equal(labels, data.influence[1])
    assert module.learner.updates == 4


# Weights and labels


@pytest.mark.parametrize("control", ["none", "plain"])
def test_weights_and_labels_are_learned_with_and_without_a_policy(control: Any, tmp_path: Path) -> None:
    settings = SampleSettings(weights=True, soft_labels=True, warmup=2, refresh=2)
    module, data = digit_classifier(control=control, samples=settings), digits()
    trainer = toy_trainer(max_epochs=2, default_root_dir=tmp_path, callbacks=[SampleWriter()])
    trainer.fit(module, datamodule=data)
    assert module.samples is not None
    assert (module.learner is None) == (control == "plain")
    weights = module.samples.weights()
    assert float(weights.std()) > 0.01
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
    assert {"samples/effective", "samples/label_shift"} <= set(trainer.callback_metrics)
    with (tmp_path / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["weight"]) for row in rows] == pytest.approx(weights.tolist(), abs=1e-4)
    assert [row["label"] for row in rows] == [str(int(label)) for label in data.training_images.labels]
    assert {row["source"] for row in rows} == set(data.training_images.sources())
    assert all(0 <= float(row["probability_of_label"]) <= 1 for row in rows)


def digits_of(counts: list[int], batch_size: int = 20) -> DigitsDataModule:
    """So many training images of each class, and 15 of each in the influence set."""
    data = digits(batch_size=batch_size)
    train, influence = data.splits.train, data.splits.influence
    data.splits = replace(data.splits, train=first(train, counts), influence=first(influence, [15] * 10))
    return data


def first(images: LabelledImages, counts: list[int]) -> LabelledImages:
    """So many images of each class."""
    rows = torch.cat([(images.labels == label).nonzero()[:count, 0] for label, count in enumerate(counts)])
    pixels, labels = images.__getitems__(rows.tolist())
    return LabelledImages(MemoryStore((pixels * 255).round().to(torch.uint8)), labels)


def rows_of_epochs(module: AugmentedClassifier, data: DigitsDataModule, **options: Any) -> list[list[int]]:
    """The rows that each epoch trains on, in their order."""
    seen: dict[int, list[int]] = {}
    step = module.training_step

    def training_step(batch: Any, batch_idx: int) -> Tensor:
        seen.setdefault(module.current_epoch, []).extend(batch[2].tolist())
        return step(batch, batch_idx)

    module.training_step = training_step  # type: ignore[method-assign]
    path = options.pop("ckpt_path", None)
    toy_trainer(limit_val_batches=0, **options).fit(module, datamodule=data, ckpt_path=path)
    return [seen[epoch] for epoch in sorted(seen)]


@pytest.mark.slow
def test_a_rare_class_is_drawn_as_often_as_the_others() -> None:
    """The influence set has as many images of every class: so has the training, from the first epoch on."""
    data = digits_of([20, *[90] * 9])
    module = digit_classifier(samples=SampleSettings(weights=True, warmup=10**6), control="plain")
    for rows in rows_of_epochs(module, data, max_epochs=3):
        share = float((data.training_images.labels[rows] == 0).float().mean())
        assert share == pytest.approx(0.1, abs=0.01)


def test_images_are_drawn_by_the_weights_of_the_last_epoch() -> None:
    data = digits_of([90] * 10)
    module = digit_classifier(samples=SampleSettings(weights=True, warmup=10**6), control="plain")
    heavy = torch.arange(50)
    callback: Any = module.learned_augmentation
    start_epoch = callback.on_train_epoch_start

    def on_train_epoch_start(trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            callback.samples.log_weights[heavy] += 3.0
        start_epoch(trainer, pl_module)

    callback.on_train_epoch_start = on_train_epoch_start
    before, after = rows_of_epochs(module, data, max_epochs=2)
    assert sum(row < 50 for row in before) == 50
    weight = 20.1 * 50 / (20.1 * 50 + 850)
    assert sum(row < 50 for row in after) / len(after) == pytest.approx(weight, abs=0.03)


@pytest.mark.slow
def test_weights_that_have_not_moved_draw_every_image_once() -> None:
    states = []
    for settings in (SampleSettings(), SampleSettings(weights=True, warmup=10**6)):
        module = digit_classifier(samples=settings, control="plain")
        toy_trainer().fit(module, datamodule=digits_of([90] * 10))
        states.append(module.network.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)


def test_labels_out_of_range_are_found_before_training() -> None:
    data = digits_of([20] * 10)
    data.splits.train.labels[3] = 10
    module = digit_classifier(samples=SampleSettings(weights=True), control="plain")
    with pytest.raises(ValueError, match=r"10"):
        toy_trainer().fit(module, datamodule=data)


class SaveAt(Checkpoint):
    """A checkpoint behind one step, or at the end of its epoch."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.on_train_batch_end(trainer)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [9, 14], ids=["within an epoch", "between two epochs"])
def test_a_resumed_table_is_the_uninterrupted_one(steps: int, tmp_path: Path) -> None:
    from lightning_modules.callbacks import ExactResume

    settings = SampleSettings(weights=True, soft_labels=True, warmup=1, refresh=1, lr=0.3)
    arguments: dict[str, Any] = {"samples": settings, "lr_schedule": "constant"}
    whole = digit_classifier(**arguments)
    callbacks: Any = [ExactResume(), SaveAt(steps, tmp_path / "one.ckpt")]
    toy_trainer(max_epochs=4, callbacks=callbacks, enable_checkpointing=True).fit(whole, datamodule=digits())
    assert len(digits().train_dataloader()) == 7
    resumed = digit_classifier(seed=7, **arguments)
    toy_trainer(max_epochs=4, callbacks=[ExactResume()]).fit(
        resumed, datamodule=digits(), ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    assert whole.samples is not None
    assert resumed.samples is not None
    assert torch.equal(whole.samples.log_weights, resumed.samples.log_weights)
    assert torch.equal(whole.samples.label_shifts, resumed.samples.label_shifts)
    assert torch.equal(whole.samples.counts, resumed.samples.counts)
    assert float(whole.samples.counts.max()) > 1


class LeaveTables(pl.Callback):
    """Each rank leaves what it knows of the training images."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        samples, data = pl_module.samples, trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(samples, SampleWeights)
        found = {"weights": samples.agreed_weights(), "shifts": samples.label_shifts, "counts": samples.counts}
        found["rows"] = data.state_dict()["rows"]
        torch.save(found, Path(trainer.default_root_dir) / f"{trainer.global_rank}.pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*sync_dist")  # the logs of rank 0 are of its own images
@pytest.mark.filterwarnings("ignore:this strategy trains in other processes")
def test_two_ranks_draw_the_same_images(tmp_path: Path) -> None:
    """Though each rank has batch statistics, and with them a gradient on the influence set, of its own."""
    settings = SampleSettings(weights=True, soft_labels=True, warmup=1, refresh=1, lr=0.3)
    module, data = digit_classifier(samples=settings, control="plain"), digits(batch_size=60)
    trainer = toy_trainer(
        max_epochs=3,
        devices=2,
        strategy="ddp_fork",
        default_root_dir=tmp_path,
        callbacks=[LeaveTables()],
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=data)
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert bool(one["weights"].isfinite().all())
    assert float(one["counts"].max()) > 1


def resumed(path: Path, data: DigitsDataModule, epochs: int = 4, **arguments: Any) -> list[list[int]]:
    """Rows of the epochs of a run that goes on at a checkpoint."""
    module = digit_classifier(control="plain", lr_schedule="constant", **arguments)
    return rows_of_epochs(module, data, max_epochs=epochs, ckpt_path=str(path))


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A checkpoint in the middle of the second of four epochs, of images that are drawn by their weights."""
    module = digit_classifier(samples=SampleSettings(weights=True, warmup=1, lr=1.0), control="plain")
    callbacks: Any = [SaveAt(9, tmp_path / "drawn.ckpt")]
    toy_trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True).fit(module, datamodule=digits())
    return tmp_path / "drawn.ckpt"


def test_a_run_that_goes_on_without_weights_draws_every_image_once(drawn: Path) -> None:
    rest, *others = resumed(drawn, digits())
    assert len(set(rest)) < len(rest)  # of the epoch that was begun
    assert all(len(set(rows)) == len(rows) for rows in others)
    assert len(others) == 2


def test_a_run_that_goes_on_with_other_data_is_refused(drawn: Path) -> None:
    with pytest.raises(ValueError, match="written with 1000 images an epoch, found 1200: resume with the data"):
        resumed(drawn, digits(influence_source="train"))


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")  # a test needs none of them
def test_what_was_tested_is_not_what_a_later_training_goes_on_with(drawn: Path) -> None:
    data = digits()
    toy_trainer().test(digit_classifier(control="plain"), datamodule=data, ckpt_path=str(drawn), verbose=False)
    module = digit_classifier(control="plain")
    (rows,) = rows_of_epochs(module, data, max_epochs=1)
    assert len(rows) == len(set(rows)) == 7 * 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_policy": "cutmix"}, "samples: images that are mixed have no weight or label of their own"),
        ({"ops": {"mixup": 0.5}}, "samples: images that are mixed have no weight or label of their own"),
        ({"distinctive": "cosine"}, "samples and distinctive do not go together"),
    ],
)
def test_what_does_not_go_together(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digit_classifier(samples=SampleSettings(weights=True), **arguments)


def test_data_that_do_not_number_their_images_are_refused() -> None:
    module = toy_classifier(samples=SampleSettings(weights=True))
    with pytest.raises(ValueError, match=r"expected a data module derived from InfluenceDataModule, found ToyData"):
        toy_trainer().fit(module, ToyData())


# The command line


def arguments(folder: Path, *others: str) -> list[str]:
    return [
        f"--config={ROOT / 'configs' / 'digits.yaml'}",
        f"--run.folder={folder}",
        "--run.wandb=disabled",
        "--run.compare=[plain, shuffled]",
        "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
        "--data.image_size=8",
        "--model.learner.warmup=2",
        *others,
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("users")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        main(["fit", *arguments(folder, "--run.compare=[]", "--model.samples.weights=true", "--run.test=false")])
    return folder / "digits"


@pytest.mark.slow
@pytest.mark.usefixtures("bare_command_line")
def test_a_run_retrains_on_everything_behind_its_policy(run: Path) -> None:
    assert (run / "samples.csv").is_file()
    config = run / "config.yaml"
    text = config.read_text().replace("compare: []", "compare: [plain, shuffled]").replace("test: false", "test: true")
    config.write_text(text)  # with weights, which need the influence set that now trains
    cli = main(["retrain", f"--config={config}"])
    assert isinstance(cli, AugfluenceCLI)
    assert [arm.name for arm in cli.arms] == ["learned", "plain"]  # shuffled has no influence set to learn from
    assert cli.datamodule.num_train_rows == 1200  # 1,797 without validation and test images
    assert cli.arms[0].ranges == load_policy(run / "policy.json").describe()
    assert {path.name for path in (run / "retrained").iterdir()} >= {"checkpoints", "summary.json", "plain"}
    assert cli.model.learner is None
    assert "policy_file" not in yaml.safe_load((run / "retrained" / "config.yaml").read_text())  # `test` reads it too


@pytest.mark.usefixtures("bare_command_line")
@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (("config.yaml", "nowhere/config.yaml"), "retrain needs a learned policy: give --config runs/NAME/config.yaml"),
        (("control: none", "control: plain"), "this run learned no policy"),
    ],
)
def test_runs_that_cannot_retrain(
    run: Path, tmp_path: Path, replaced: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (run / "config.yaml").read_text()
    if replaced[0] in text:
        config = run / "other.yaml"
        config.write_text(text.replace(*replaced))
    else:
        config = tmp_path / "config.yaml"
        config.write_text(text)
    with pytest.raises(SystemExit):
        main(["retrain", f"--config={config}"])
    assert message in capsys.readouterr().err


def test_a_missing_policy_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["retrain", f"--config={run / 'config.yaml'}", "--policy_file=none.json"])
    assert "retrain: there is no policy none.json" in capsys.readouterr().err
