"""Where the influence set comes from: held out, folds in turn, or nowhere because it trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from image_files import hashes, write_image_folder
from toys import toy_trainer

from augnet import AugNet, save_policy
from lightning_modules.adaptation.change import Change, ChangedImages
from lightning_modules.attribution.scoring import attribute_images
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.commands.cli import main
from lightning_modules.data import DigitsDataModule, ImageDataModule, InfluenceDataModule

ROOT = Path(__file__).parents[2]
MODES = ("held_out", "cross_fit", "train")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder with a test split, and another one of deployment."""
    root = tmp_path_factory.mktemp("folder")
    write_image_folder(root / "data" / "train", {"cat": 30, "dog": 31, "eel": 33}, seed=0)
    write_image_folder(root / "data" / "test", {"cat": 5, "dog": 5, "eel": 5}, seed=1)
    write_image_folder(root / "deployed", {"cat": 8, "dog": 9, "eel": 9}, seed=2)
    return root


def digits(**arguments: Any) -> DigitsDataModule:
    return DigitsDataModule(**{"image_size": 8} | arguments)


def images_of(folder: Path, deployed: bool, **arguments: Any) -> ImageDataModule:
    own = {"influence_path": str(folder / "deployed")} if deployed else {"influence_size": 9}
    return ImageDataModule(str(folder / "data"), **{"val_size": 6, "batch_size": 8, **own, **arguments})


def trained(data: InfluenceDataModule, epochs: int = 1) -> set[int]:
    """Rows of the batches of some epochs, all of them."""
    data.batch_size = 1
    return {int(rows) for _ in range(epochs) for *_, rows in data.train_dataloader()}


@pytest.mark.parametrize("rotation", [0.0, 45.0])
def test_validation_and_test_images_do_not_depend_on_it(rotation: float) -> None:
    held_out, *others = (digits(influence_source=mode, deployment_rotation=rotation) for mode in MODES)
    for other in others:
        assert hashes(other.splits.validation) == hashes(held_out.splits.validation)
        assert hashes(other.splits.load_test()) == hashes(held_out.splits.load_test())
        labelled = hashes(held_out.splits.train) + hashes(held_out.splits.influence)
        assert hashes(other.training_images) == labelled
        assert other.training_images.labels.tolist() == (
            held_out.splits.train.labels.tolist() + held_out.splits.influence.labels.tolist()
        )
        assert set(labelled).isdisjoint(hashes(other.splits.validation) + hashes(other.splits.load_test()))


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("memory_limit", [0, 100])
def test_folds_partition_the_pool(folder: Path, deployed: bool, memory_limit: int) -> None:
    data = images_of(folder, deployed, influence_source="cross_fit", folds=4, memory_limit=memory_limit)
    splits = data.splits
    pool = hashes(splits.influence) + ([] if deployed else hashes(splits.train))
    seen = []
    for epoch in range(4):
        assert data.rotate(epoch) == (epoch > 0)
        images, labels = data.influence_set()
        assert len(labels) == len(pool) // 4
        assert set(labels.tolist()) == {0, 1, 2}
        seen += hashes(images)
    assert len(seen) == len(set(seen)) == len(pool) // 4 * 4
    assert set(seen) <= set(pool)
    assert data.rotate(4)
    assert hashes(data.influence_set()[0]) == seen[: len(pool) // 4]


def test_without_a_deployment_set_all_labelled_digits_are_the_pool() -> None:
    assert len(digits(influence_source="cross_fit", deployment_rotation=0).influence_set()[1]) == 1200 // 5
    assert len(digits(influence_source="cross_fit").influence_set()[1]) == 200 // 5


@pytest.mark.slow
@pytest.mark.parametrize("rotation", [0.0, 45.0])
def test_all_rows_but_those_of_the_fold_train(rotation: float) -> None:
    data = digits(influence_source="cross_fit", deployment_rotation=rotation, folds=3)
    numbers = {value: row for row, value in enumerate(hashes(data.training_images))}
    rows = []
    for epoch in range(3):
        data.rotate(epoch)
        rows.append({numbers[value] for value in hashes(data.influence_set()[0])})
        assert trained(data) == set(range(1200)) - rows[-1]
    assert set().union(*rows) | trained(data) == set(range(1200))


def test_train_trains_on_training_and_influence_images_once() -> None:
    data = digits(influence_source="train", batch_size=400)
    assert data.num_train_rows == 1200
    images = torch.cat([images for images, *_ in data.train_dataloader()])
    splits = digits().splits
    assert sorted(hashes(images)) == sorted(hashes(splits.train) + hashes(splits.influence))
    assert data.rotate(3) is False
    with pytest.raises(ValueError, match="none are left to learn a policy from: set data"):
        data.influence_set()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("memory_limit", [0, 100])
def test_row_numbers_belong_to_images_whatever_the_order(folder: Path, mode: str, memory_limit: int) -> None:
    options: dict[str, Any] = {"memory_limit": memory_limit, "num_workers": 1, "batch_size": 7}
    data, again = (images_of(folder, True, influence_source=mode, **options) for _ in range(2))
    again.rotate(1)
    table = again.training_images.everything()[0]
    seen: list[list[int]] = []
    loader = data.train_dataloader()
    for _ in range(2):
        seen.append([])
        for images, labels, rows in loader:
            assert torch.equal(images, table[rows])
            assert torch.equal(labels, again.training_images.labels[rows])
            seen[-1] += rows.tolist()
    assert seen[0] != seen[1]
    assert max(seen[0]) < data.num_train_rows == len(data.splits.train) + (0 if mode == "held_out" else 26)


def test_joined_images_keep_their_sources(folder: Path) -> None:
    data = images_of(folder, True, influence_source="train")
    sources = data.training_images.sources()
    assert len(sources) == data.num_train_rows
    assert sources == [*data.splits.train.sources(), *data.splits.influence.sources()]
    assert sum("deployed" in source for source in sources) == 26


def test_held_out_draws_what_it_drew_before_there_were_folds() -> None:
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.cat([rows for *_, rows in digits(batch_size=100).train_dataloader()]).tolist() == order.tolist()


def test_a_fold_stays_for_its_epochs_and_release_lets_all_sit_out_alike() -> None:
    data = digits(influence_source="cross_fit", folds=3, fold_epochs=2)
    loader = data.train_dataloader()
    changed = [data.rotate(epoch) for epoch in (0, 0, 1, 2, 2, 3)]
    assert changed == [False, False, False, True, False, False]
    length = len(loader)
    data.release()
    fold = hashes(data.influence_set()[0])
    assert data.rotate(3) is False  # still the epoch in which it was released
    assert hashes(data.influence_set()[0]) == fold
    outs = []
    for epoch in (4, 5, 6):
        data.rotate(epoch)
        outs.append(set(range(1200)) - trained(data))
        assert len(loader) == length
    assert [len(rows) for rows in outs] == [66] * 3
    assert len(set().union(*outs)) == 3 * 66


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"influence_source": "crossfit"},
            "influence_source must be one of held_out, cross_fit, train, found",
        ),
        ({"folds": 1}, r"folds must lie in .*found 1"),
        ({"fold_epochs": 0}, r"fold_epochs must lie in .*found 0"),
        ({"influence_source": "cross_fit", "folds": 30}, r"folds=30, but of class .* lower folds to 19"),
        (
            {"influence_source": "cross_fit", "influence_size": 10},
            "add images .*, or set influence_source to held_out",
        ),
    ],
)
def test_errors_come_before_training(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digits(**arguments).setup("fit")


def test_a_run_is_resumed_with_its_own_folds() -> None:
    data = digits(influence_source="cross_fit", folds=4)
    data.train_dataloader()
    data.rotate(2)
    state = data.state_dict()
    fold = hashes(data.influence_set()[0])
    same = digits(influence_source="cross_fit", folds=4)
    same.load_state_dict(state)
    assert hashes(same.influence_set()[0]) == fold
    same.train_dataloader()
    for other in (digits(influence_source="cross_fit", folds=5), digits(), digits(influence_source="train")):
        other.load_state_dict(state)  # as `test` and `predict` do, which read no training image
        with pytest.raises(ValueError, match=r"with 4 folds, found [05]: resume with the data.influence_source"):
            other.train_dataloader()
    plain = digits()
    plain.train_dataloader()
    assert set(plain.state_dict()) == {"order", "batches"}  # as checkpoints without folds always were
    data.load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match="written with 0 folds, found 4"):
        data.train_dataloader()


# What uses the data


def digit_classifier(**arguments: Any) -> AugmentedClassifier:
    return AugmentedClassifier(ops=["rotation"], num_classes=10, in_channels=1, model_kwargs={"width": 4}, **arguments)


def test_a_policy_cannot_be_learned_from_images_that_train(tmp_path: Path) -> None:
    data = digits(influence_source="train")
    with pytest.raises(ValueError, match="none are left to learn a policy from"):
        digit_classifier().check_data(data)
    save_policy(AugNet.from_ops({"rotation": 30.0}, 0.5), tmp_path / "policy.json")
    for arguments in ({"control": "plain"}, {"policy_file": str(tmp_path / "policy.json")}):
        model = digit_classifier(**arguments)
        model.check_data(data)
        toy_trainer(limit_train_batches=2, limit_val_batches=1).fit(model, datamodule=data)
        assert model.global_step == 2


def test_a_policy_is_learned_from_the_first_fold() -> None:
    data = digits(influence_source="cross_fit")
    model = digit_classifier()
    toy_trainer(limit_train_batches=2, limit_val_batches=1).fit(model, datamodule=data)
    assert model.learner is not None
    assert torch.equal(model.learner.influence.influence_set[0], data.influence_set()[0])


@pytest.mark.slow
@pytest.mark.usefixtures("bare_command_line")
def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        *("fit", f"--config={ROOT / 'configs' / 'digits.yaml'}", f"--run.folder={tmp_path}", "--run.compare=[]"),
        *("--run.wandb=disabled", "--run.test=false", "--trainer.fast_dev_run=true", "--data.image_size=8"),
    ]
    with pytest.raises(SystemExit):
        main([*arguments, "--data.influence_source=train"])
    assert "none are left to learn a policy from" in capsys.readouterr().err
    cli = main([*arguments, "--data.influence_source=cross_fit", "--data.folds=4", "--data.fold_epochs=3"])
    data = cli.datamodule
    assert isinstance(data, DigitsDataModule)
    assert (data.influence_source, data.folds, data.fold_epochs) == ("cross_fit", 4, 3)


@pytest.mark.parametrize("mode", ["cross_fit", "train"])
def test_attribution_wants_images_that_were_never_trained_on(mode: str) -> None:
    data = digits(influence_source=mode)
    model = Classifier(num_classes=10, in_channels=1, model_kwargs={"width": 4})
    with pytest.raises(ValueError, match=f"influence_source {mode} trains on the influence images: train with held_"):
        attribute_images(model, data)


def test_adaptation_counts_all_images_that_were_trained_on(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("1150\n3\n")
    images = ChangedImages.of(Change(remove=str(tmp_path / "rows.txt")), digits(influence_source="train"))
    assert images.removed.tolist() == [3, 1150]
    assert len(images.kept) == 1198
