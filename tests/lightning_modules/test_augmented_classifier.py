import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from toys import OPS, ToyData, blobs, toy_classifier, toy_trainer

from augnet import AugNet, save_policy
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.learner.policy_learner import PolicyLearner
from lightning_modules.learner.settings import LearnerSettings

NEVER = LearnerSettings(interval=10_000)

LABELS = blobs(96, 0, 0)[1]


def fit(model: AugmentedClassifier, data: pl.LightningDataModule | None = None, **trainer: Any) -> pl.Trainer:
    fitter = toy_trainer(**trainer)
    fitter.fit(model, datamodule=ToyData() if data is None else data)
    return fitter


def theta(model: AugmentedClassifier) -> Tensor:
    assert model.augnet is not None
    values: Tensor = model.augnet.policy.theta.detach().clone()
    return values


def half_widths(model: AugmentedClassifier) -> dict[str, float]:
    assert model.learned is not None
    return {name: float(facts["half_width"]) for name, facts in model.learned.describe().items()}


def learner_of(model: AugmentedClassifier) -> PolicyLearner:
    assert model.learner is not None
    return model.learner


def same(left: Any, right: Any) -> bool:
    """Equality of nested states, bit for bit in tensors."""
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    return bool(left == right)


def same_weights(left: nn.Module, right: nn.Module) -> bool:
    return same(dict(left.state_dict()), dict(right.state_dict()))


# Training


def test_seed_decides_weights_and_policy() -> None:
    first, second, other = toy_classifier(), toy_classifier(), toy_classifier(seed=1)
    for seed, model in ((0, first), (0, second), (1, other)):
        pl.seed_everything(seed, verbose=False)
        fit(model)
    assert same_weights(first, second)
    assert not torch.equal(theta(first), theta(other))
    assert not torch.equal(theta(first), torch.logit(torch.full((2,), 0.1)))


@pytest.mark.parametrize("base_policy", ["none", "flip_crop", "flip_crop+trivial_augment"])
def test_learner_leaves_the_training_alone(base_policy: str) -> None:
    """With a learning rate too small to change the policy, a run is bit for bit one that never updates it."""
    updating = toy_classifier(base_policy=base_policy, learner=LearnerSettings(lr=1e-30, interval=1, warmup=0))
    fit(updating)
    resting = toy_classifier(base_policy=base_policy, learner=NEVER)
    fit(resting)
    assert learner_of(updating).updates == 4
    assert learner_of(resting).updates == 0
    assert same_weights(updating, resting)


def test_only_the_learner_moves_the_policy() -> None:
    model = toy_classifier(learner=NEVER)
    before = theta(model)
    trainer = fit(model)
    assert torch.equal(theta(model), before)
    optimised = {id(parameter) for group in trainer.optimizers[0].param_groups for parameter in group["params"]}
    assert optimised == {id(parameter) for parameter in model.network.parameters()}


def test_interval_and_warmup_count_steps_of_the_classifier() -> None:
    model = toy_classifier(learner=LearnerSettings(interval=3, warmup=4))
    fit(model, max_epochs=3)  # 12 steps: updates after 6, 9 and 12
    assert learner_of(model).updates == 3


def test_accumulated_batches_are_one_step() -> None:
    model = toy_classifier()
    fit(model, max_epochs=3, accumulate_grad_batches=2)
    assert model.trainer.global_step == 6
    assert learner_of(model).updates == 6


def test_fitting_again_learns_again() -> None:
    model = toy_classifier()
    for _ in range(2):
        fit(model, limit_train_batches=1)
        assert learner_of(model).updates == 1


def test_logged_keys() -> None:
    model = toy_classifier()
    metrics = fit(model).callback_metrics
    for key in ("mean", "loss", "ihvp_residual", "cg_iters"):
        assert f"influence/{key}" in metrics
    assert {"policy/retention", "val/acc", "train/loss"} <= set(metrics)
    assert {f"range/{op}": pytest.approx(width) for op, width in half_widths(model).items()} == {
        key: float(value) for key, value in metrics.items() if key.startswith("range/")
    }


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precisions(precision: Any) -> None:
    model = toy_classifier()
    before = theta(model)
    fit(model, precision=precision)
    assert torch.isfinite(theta(model)).all()
    assert not torch.equal(theta(model), before)
    assert theta(model).dtype == (torch.float64 if precision == "64-true" else torch.float32)
    solution = learner_of(model).influence.solution
    assert learner_of(model).influence.solved
    assert solution.value.dtype == theta(model).dtype
    assert solution.relative_residual <= 1e-2
    with learner_of(model).influence.forward_context():
        assert torch.is_autocast_enabled("cpu") == (precision == "bf16-mixed")


def test_policy_is_not_learned_in_bfloat16() -> None:
    with pytest.raises(ValueError, match=r"learned in float32, found torch.bfloat16: .* trainer\.precision bf16-mixed"):
        fit(toy_classifier(), precision="bf16-true")


# Controls


def test_plain_has_no_policy() -> None:
    model = toy_classifier(control="plain")
    images = blobs(6, 0, 0)[0]
    assert torch.equal(model.train().augment(images, LABELS[: len(images)])[0], images)
    fit(model)
    assert model.augnet is None
    assert model.learner is None
    assert not any("policy" in name for name in model.state_dict())


def test_plain_keeps_the_base_policy() -> None:
    model = toy_classifier(control="plain", base_policy="flip_crop")
    images = blobs(6, 0, 0)[0]
    assert not torch.equal(model.train().augment(images, LABELS[: len(images)])[0], images)
    assert torch.equal(model.eval().augment(images, LABELS[: len(images)])[0], images)


def test_uniform_draws_up_to_the_bounds_and_stays_there() -> None:
    model = toy_classifier(control="uniform")
    assert half_widths(model) == pytest.approx(OPS)
    fit(model)
    assert half_widths(model) == pytest.approx(OPS)
    assert model.learner is None
    assert model.augnet is not None
    draws = model.augnet.sample(torch.zeros(2000, 1, 1, 1))
    assert draws.abs().amax(dim=0).tolist() == pytest.approx([0.4, 0.4], rel=0.01)
    assert draws.abs().mean(dim=0).tolist() == pytest.approx([0.2, 0.2], rel=0.1)


def test_policy_file_trains_with_frozen_ranges(tmp_path: Path) -> None:
    save_policy(AugNet.from_ops({"rotation": 30.0, "contrast": 1.0}, 0.37), tmp_path / "policy.json")
    model = toy_classifier(policy_file=str(tmp_path / "policy.json"))
    images = blobs(6, 0, 0)[0]
    assert not torch.equal(model.train().augment(images, LABELS[: len(images)])[0], images)
    fit(model)
    assert half_widths(model) == pytest.approx({"rotation": 0.37 * 30, "contrast": 0.37}, rel=1e-5)
    assert model.learner is None


@pytest.mark.parametrize("control", ["none", "shuffled", "flipped", "identity_hessian"])
def test_spoiled_influence_reaches_the_learner(control: str) -> None:
    model = toy_classifier(control=control)
    fit(model, limit_train_batches=1)
    assert learner_of(model).control == control


def test_evaluation_is_not_augmented() -> None:
    model, data = toy_classifier(control="uniform", base_policy="flip_crop"), ToyData()
    seen: list[Tensor] = []
    model.network.register_forward_pre_hook(
        lambda network, args: None if network.training else seen.append(args[0].clone())
    )
    fit(model, data, num_sanity_val_steps=0)
    assert torch.equal(torch.cat(seen), data.validation[0])
    images = data.validation[0]
    assert not torch.equal(model.train().augment(images, LABELS[: len(images)])[0], images)


def test_base_policy_stands_in_front_of_the_learned_one() -> None:
    model = toy_classifier(base_policy="flip_crop")
    order: list[str] = []
    assert model.base is not None
    assert model.augnet is not None
    model.base.register_forward_hook(lambda *_: order.append("base"))
    model.augnet.register_forward_hook(lambda *_: order.append("learned"))
    model.train().augment(*blobs(6, 0, 0))
    assert order == ["base", "learned"]


def test_learner_puts_the_base_policy_in_front_too() -> None:
    model = toy_classifier(base_policy="flip_crop")
    calls: list[int] = []
    assert model.base is not None
    model.base.register_forward_hook(lambda *_: calls.append(learner_of(model).updates))
    fit(model, limit_train_batches=1)
    assert len(calls) == 2  # the training step and the update


# Mistakes


def empty(data: ToyData) -> None:
    data.influence = data.influence[0][:0], data.influence[1][:0]


def bright(data: ToyData) -> None:
    data.influence = data.influence[0] * 255, data.influence[1]


def fourth_class(data: ToyData) -> None:
    data.influence = data.influence[0], data.influence[1] + 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "the influence set is empty: give it at least one image of every class"),
        (bright, r"images must lie in \[0, 1\].*divide 8-bit images by 255"),
        (fourth_class, r"labels must lie in 0\.\.2 for 3 classes, got \[3\]"),
    ],
)
def test_influence_sets_that_are_no_use(spoil: Callable[[ToyData], None], message: str) -> None:
    model, data = toy_classifier(), ToyData()
    spoil(data)
    with pytest.raises(ValueError, match=message):
        model.check_data(data)
    with pytest.raises(ValueError, match=message):
        fit(model, data)
    assert model.global_step == 0
    fit(toy_classifier(control="uniform"), data)  # which needs none


def test_data_without_an_influence_set() -> None:
    data = ToyData()
    message = r"expected a data module with influence_set\(\) -> \(images, labels\), found NoneType"
    with pytest.raises(ValueError, match=message):
        toy_trainer().fit(toy_classifier(), data.train_dataloader())
    toy_trainer().fit(toy_classifier(control="plain"), data.train_dataloader())


@pytest.mark.parametrize(
    ("network", "message"),
    [("toys.SoftmaxNet", "take its final softmax out"), ("toys.ConvolutionNet", "no torch.nn.Linear ran")],
)
def test_models_without_a_linear_head(network: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy_classifier(model=network).check_data(ToyData())
    with pytest.raises(ValueError, match=message):
        fit(toy_classifier(model=network))
    fit(toy_classifier(model=network, control="plain"))  # which needs no head


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ops": ["rotatoin"]}, "unknown op 'rotatoin'; did you mean rotation"),
        ({"ops": {"rotation": -3.0}}, "the bound of 'rotation' .* must be > 0 .*found -3"),
        ({"ops": []}, "expected at least one op"),
        ({"ops": ["rotation", "hue"]}, r"hue need images with 3 channels \(red, green, blue\), found 1"),
        ({"initial_range": 0.0}, r"initial_range must lie in \(0, 1\], found 0.0"),
        ({"control": "inverted"}, "control must be one of none, plain, .*, found 'inverted'"),
        ({"base_policy": "flip"}, "base_policy: unknown baseline 'flip'; did you mean flip_crop"),
        ({"base_policy": "mixup+flip_crop"}, "mixup and cutmix mix labels too: put them last"),
        ({"model": "toys.NoSuchNet"}, "module toys has no class or function 'NoSuchNet'"),
        ({"label_smoothing": 2.0}, "label_smoothing must lie in"),
        ({"policy_file": "x.json", "control": "plain"}, "policy_file fixes the policy: control must be none"),
        ({"learner": {"interval": 0}}, r"learner\.interval must lie in"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy_classifier(**arguments)


def test_missing_policy_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"policy_file: there is no file nowhere\.json"):
        toy_classifier(policy_file="nowhere.json")


def test_hue_with_three_channels() -> None:
    model = toy_classifier(ops=["rotation", "hue"], in_channels=3)
    before = theta(model)
    fit(model, ToyData(channels=3))
    assert (theta(model) != before).all()


# Checkpoints


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05)


def test_checkpoint_is_plain_and_rebuilds_the_model(tmp_path: Path) -> None:
    settings = LearnerSettings(interval=2, warmup=0, damping=0.3)
    model = toy_classifier(learner=settings, optimizer=sgd, label_smoothing=0.1, model_kwargs={"width": 7})
    fit(model).save_checkpoint(tmp_path / "model.ckpt")
    saved = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert saved["callbacks"]["LearnedAugmentation"]["learner"]["updates"] == 2
    loaded = AugmentedClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert same_weights(loaded, model)
    assert half_widths(loaded) == half_widths(model)
    assert loaded.learned_augmentation.settings == settings
    assert loaded.loss.label_smoothing == 0.1
    images = blobs(6, 1, 0)[0]
    assert torch.equal(loaded.eval()(images), model.eval()(images))
    assert loaded.augnet is not None
    assert not any(parameter.requires_grad for parameter in loaded.augnet.parameters())


@pytest.mark.parametrize("control", ["plain", "uniform"])
def test_checkpoints_of_controls(control: str, tmp_path: Path) -> None:
    model = toy_classifier(control=control)
    fit(model).save_checkpoint(tmp_path / "model.ckpt")
    loaded = AugmentedClassifier.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.control == control
    assert same_weights(loaded, model)


def test_resumed_run_goes_on_with_the_learner(tmp_path: Path) -> None:
    settings = LearnerSettings(interval=1, warmup=0, refresh=2, hessian_rows=50)
    model = toy_classifier(learner=settings, lr_schedule="constant")
    fit(model, max_epochs=2).save_checkpoint(tmp_path / "model.ckpt")
    expected = learner_of(model).state_dict()
    resumed = toy_classifier(seed=5, learner=settings, lr_schedule="constant")
    found: list[dict[str, Any]] = []

    class Look(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            found.append(copy.deepcopy(learner_of(resumed).state_dict()))
            assert same_weights(resumed, model)

    trainer = toy_trainer(max_epochs=3, callbacks=[Look()])
    trainer.fit(resumed, datamodule=ToyData(), ckpt_path=str(tmp_path / "model.ckpt"))
    assert expected["updates"] == 8
    assert len(found) == 1
    for key in expected:
        assert same(found[0][key], expected[key]), key
    assert learner_of(resumed).updates == 12
