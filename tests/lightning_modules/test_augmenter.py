"""Learned augmentation in a plain PyTorch loop."""

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from toys import CLASSES, OPS, ToyData, ToyNet, blobs, toy_trainer

from augnet import AugNet, load_policy
from lightning_modules.callbacks import LearnedAugmentation
from lightning_modules.learner.augmenter import Augmenter
from lightning_modules.learner.settings import LearnerSettings

EVERY_STEP = LearnerSettings(interval=1, warmup=0)
IMAGES, LABELS = blobs(96, 0, 0)
INFLUENCE = ToyData().influence


def augmenter(model: nn.Module | None = None, **arguments: Any) -> Augmenter:
    settings: dict[str, Any] = {"influence": INFLUENCE, "ops": OPS, "learner": EVERY_STEP}
    return Augmenter(ToyNet() if model is None else model, **{**settings, **arguments})


def train(model: nn.Module, learned: Augmenter, epochs: int = 2) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for images, labels in list(zip(IMAGES.split(24), LABELS.split(24), strict=True)) * epochs:
        loss = nn.functional.cross_entropy(model(learned(images, labels)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learned.step(images, labels)


class InLightning(pl.LightningModule):
    """The same classifier and loss."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


@pytest.mark.parametrize("policy", ["ranges", "mixture", "class_conditional"])
def test_a_plain_loop_trains_what_the_callback_trains(policy: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ToyNet()
    module = InLightning(copy.deepcopy(model))
    callback = LearnedAugmentation(OPS, INFLUENCE, "network", learner=EVERY_STEP, policy=policy)
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=24)
    pl.seed_everything(0, verbose=False)
    trainer = toy_trainer(max_epochs=2, callbacks=[callback], default_root_dir=tmp_path)
    trainer.fit(module, loader)

    pl.seed_everything(0, verbose=False)
    learned = augmenter(model, policy=policy, seed=torch.initial_seed() % 2**63)
    next(iter(loader))  # Lightning draws the seed of the loader's workers each epoch
    torch.manual_seed(0)
    for _ in range(2):
        torch.empty((), dtype=torch.int64).random_()  # as the iterator of a loader does
        train(model, learned, epochs=1)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(module.network.state_dict()[name], value, rtol=0, atol=0)
    assert callback.learned is not None
    assert learned.policy is not None
    assert learned.policy.describe() == callback.learned.describe()


@pytest.mark.parametrize(
    "source",
    [
        TensorDataset(*INFLUENCE),
        DataLoader(TensorDataset(*INFLUENCE), batch_size=7),
        (part for part in zip(INFLUENCE[0].split(7), INFLUENCE[1].split(7), strict=True)),  # as wrapped loaders are
        {"pixel_values": INFLUENCE[0], "labels": INFLUENCE[1]},
        [{"image": image, "label": int(label)} for image, label in zip(*INFLUENCE, strict=True)],
        list(zip(*INFLUENCE, strict=True)),
        [(INFLUENCE[0][:20], INFLUENCE[1][:20]), (INFLUENCE[0][20:], INFLUENCE[1][20:])],
        [{"image": INFLUENCE[0], "label": INFLUENCE[1]}],
    ],
)
def test_the_influence_set_may_be_a_data_set_or_a_loader(source: Any) -> None:
    found, expected = augmenter(influence=source).influence_set, augmenter().influence_set
    assert found is not None
    assert expected is not None
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("label_key", "source"),
    [
        ("fine", {"image": INFLUENCE[0], "label": (INFLUENCE[1] + 1) % CLASSES, "fine": INFLUENCE[1]}),
        (2, (INFLUENCE[0], (INFLUENCE[1] + 1) % CLASSES, INFLUENCE[1])),
        (2, TensorDataset(INFLUENCE[0], (INFLUENCE[1] + 1) % CLASSES, INFLUENCE[1])),
        ("fine", INFLUENCE),
    ],
)
def test_the_labels_of_the_influence_set_are_those_that_are_named(label_key: int | str, source: Any) -> None:
    found = augmenter(influence=source, label_key=label_key).influence_set
    assert found is not None
    assert torch.equal(found[1], INFLUENCE[1])


def test_normalized_batches_are_learned_as_their_pixels_are() -> None:
    """With mean and standard deviation given, the policy is that of the loop on pixels whose model normalizes."""
    found = []
    for mean, std in ((0.0, 1.0), (0.5, 0.25)):
        torch.manual_seed(0)
        model = ToyNet()
        inside: nn.Module = model if mean else nn.Sequential(Shifted(), model)
        source = ((INFLUENCE[0] - mean) / std, INFLUENCE[1])
        learned = augmenter(inside, influence=source, mean=mean, std=std)
        torch.manual_seed(1)
        for images, labels in zip(IMAGES.split(24), LABELS.split(24), strict=True):
            learned.step((images - mean) / std, labels)
        found.append(learned.policy.describe())  # type: ignore[union-attr]
    for op, facts in found[0].items():
        assert facts["half_width"] == pytest.approx(found[1][op]["half_width"], rel=1e-3)


class Shifted(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5) / 0.25


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_model_that_is_wrapped_for_several_devices_is_trained_as_the_model_itself() -> None:
    models, policies = [], []
    for wrapper in (nn.Sequential, partial(DistributedDataParallel, find_unused_parameters=True)):
        torch.manual_seed(0)
        models.append(wrapper(ToyNet()))
        learned = augmenter(models[-1])
        train(models[-1], learned)
        policies.append(learned.policy)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert None not in policies
    assert policies[0].describe() == policies[1].describe()  # type: ignore[union-attr]


class HalfPrecision(nn.Module):
    """Computes in bfloat16 and returns float32 in an output, as the models of Accelerate and Fabric do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ToyNet()

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = self.network(pixel_values)
        return {"logits": logits.float()}


def test_a_model_in_mixed_precision_with_an_output_of_its_own() -> None:
    learned = augmenter(HalfPrecision())
    update = learned.step(IMAGES, LABELS)
    assert update is not None
    assert update.influence.isfinite().all()


def test_mixed_images_come_with_probabilities() -> None:
    learned = augmenter(ops=["mixup", "translate_x"])
    images, targets = learned(IMAGES[:24], LABELS[:24])
    assert images.shape == IMAGES[:24].shape
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(24))
    with pytest.raises(ValueError, match="images are mixed, and their labels with them"):
        learned(IMAGES[:24])
    with pytest.raises(ValueError, match="the policy has ranges for each class: call with images and labels"):
        augmenter(policy="class_conditional")(IMAGES[:24])


def test_a_loop_that_calls_its_augmented_images_by_the_same_name_learns_the_same() -> None:
    found = []
    for rebinds in (False, True):
        torch.manual_seed(0)
        model = ToyNet().eval()
        learned = augmenter(model)
        for images, labels in zip(IMAGES.split(24), LABELS.split(24), strict=True):
            augmented = learned(images, labels)
            model(augmented)
            learned.step(augmented if rebinds else images, labels)
        assert learned.policy is not None
        found.append(learned.policy.describe())
    assert found[0] == found[1]


def test_a_loop_that_leaves_one_of_the_two_calls_out_is_told_so() -> None:
    rare = LearnerSettings(interval=1000)
    called, stepped = augmenter(learner=rare), augmenter(learner=rare)
    for _ in range(99):
        called(IMAGES[:2], LABELS[:2])
        stepped.step(IMAGES[:2], LABELS[:2])
    with pytest.warns(UserWarning, match="100 batches were augmented and none learned from: call step"):
        called(IMAGES[:2], LABELS[:2])
    with pytest.warns(UserWarning, match="100 steps, and no batch was augmented: call the augmenter"):
        stepped.step(IMAGES[:2], LABELS[:2])


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_step_where_gradients_are_off_learns_the_same(off: Any) -> None:
    found = []
    for context in (nullcontext, off):
        torch.manual_seed(0)
        learned = augmenter()
        with context():
            update = learned.step(IMAGES.clone(), LABELS.clone())
        assert update is not None
        found.append(update.influence)
    assert torch.equal(*found)


def test_images_that_the_loop_changes_in_place_are_noticed() -> None:
    model = ToyNet()
    learned = augmenter(model)
    model(learned(IMAGES[:24], LABELS[:24]).mul_(0.5))
    with pytest.raises(ValueError, match="the classifier gets other images in the training loop"):
        learned.step(IMAGES[:24], LABELS[:24])


def test_a_policy_is_applied_as_it_is_without_an_influence_set(tmp_path: Path) -> None:
    model = ToyNet()
    learned = augmenter(model)
    train(model, learned)
    learned.save(tmp_path / "policy.json")
    fixed = Augmenter(model, policy=load_policy(tmp_path / "policy.json"))
    assert fixed.step(IMAGES, LABELS) is None
    assert fixed.policy is not None
    assert learned.policy is not None
    assert fixed.policy.describe() == learned.policy.describe()
    assert not torch.equal(fixed(IMAGES), IMAGES)


def test_a_loop_goes_on_where_its_state_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    models = [ToyNet().eval() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    first, resumed = (augmenter(model, learner=LearnerSettings(interval=2, warmup=0)) for model in models)
    for _ in range(3):
        first.step(IMAGES[:24], LABELS[:24])
    torch.save(first.state_dict(), tmp_path / "state.pt")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for one in (first, resumed):
        assert one.step(IMAGES[:24], LABELS[:24]) is not None  # step 4
    assert first.policy is not None
    assert resumed.policy is not None
    assert first.policy.describe() == resumed.policy.describe()


def test_learning_ends_at_a_share_of_the_loop() -> None:
    learned = augmenter(learner=LearnerSettings(interval=1, warmup=0, until=0.5), total_steps=8)
    updates = [learned.step(IMAGES[:24], LABELS[:24]) for _ in range(8)]
    assert [update is not None for update in updates] == [True] * 4 + [False] * 4


class TwoOutputs(ToyNet):
    def forward(self, images: Tensor) -> Any:
        return super().forward(images), images


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"influence": (INFLUENCE[0][:0], INFLUENCE[1][:0])}, "the influence set is empty"),
        ({"influence": (INFLUENCE[0] * 255, INFLUENCE[1])}, r"images must lie in \[0, 1\].*divide 8-bit images by 255"),
        ({"influence": ((INFLUENCE[0] - 0.5) / 0.25, INFLUENCE[1])}, "negative values come from normalization"),
        ({"influence": (INFLUENCE[0], INFLUENCE[1] + 1)}, r"labels must lie in 0\.\.2 for 3 classes, got \[3\]"),
        ({"influence": (INFLUENCE[0], INFLUENCE[1][:-1])}, r"one label for each of 60 images, found shape \(59,\)"),
        ({"influence": (INFLUENCE[0], INFLUENCE[1].float())}, r"labels must be int64 .*torch.float32"),
        ({"influence": (INFLUENCE[0], INFLUENCE[1].tolist())}, r"labels must be a tensor, found a list"),
        ({"influence": [(INFLUENCE[0][0].numpy().astype("uint8"), 1)]}, "images must be floating point"),
        ({"influence": (INFLUENCE[0].numpy(), INFLUENCE[1].numpy())}, "of tensors .*found a tuple of ndarray, ndarray"),
        ({"influence": [{"img": INFLUENCE[0][0], "label": 1}]}, "found the keys img, label"),
        ({"influence": 5}, "expected tensors, a data set or a loader .* found a int"),
        ({"influence": "deployment"}, "found a str .'deployment'."),
        ({"influence": [(torch.rand(1, 9, 9), 0), (torch.rand(1, 9, 8), 1)]}, "must be tensors of one size"),
        ({"influence": [(torch.rand(1, 1, 9, 9), LABELS[:1]), (torch.rand(1, 1, 9, 8), LABELS[:1])]}, "resize them"),
        ({"influence": [("x.png", 1)]}, "of tensors or dictionaries, found a list of tuple, Tensor"),
        ({"label_key": 2, "influence": TensorDataset(*INFLUENCE)}, "label_key=2: the batch has no part of that place"),
        ({"label_key": "fine", "influence": {"x": INFLUENCE[0], "y": INFLUENCE[1]}}, "'fine': the batch has the keys"),
        (
            {"influence": (INFLUENCE[0][:, :, :6], INFLUENCE[1])},
            r"model cannot take images of shape \(2, 1, 6, 12\)",
        ),
        ({"model": TwoOutputs()}, r"must return logits \[B, K\], got a tuple"),
        ({"ops": ["rotatoin"]}, "unknown op 'rotatoin'; did you mean rotation"),
        ({"policy": "field", "influence": None}, "policy field depends on the images: give an influence set"),
        ({"policy_probability": 1.5}, r"policy_probability must lie in \(0, 1\], found 1.5"),
        ({"learner": LearnerSettings(until=0.5)}, "learner.until=0.5 is a share of the loop: give total_steps"),
        ({"policy": AugNet.from_ops(["hue"]), "ops": ()}, r"hue need images with 3 channels"),
        ({"policy": AugNet.from_ops(["rotation"])}, "ops and ops_per_image are for a kind of policy by name"),
        ({"base_policy": "mixup", "influence": None}, None),
        ({"model": ToyNet().forward}, "model must be a torch.nn.Module, found a method"),
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), found 1.0"),
        ({"total_steps": 0}, r"total_steps must lie in \[1, 1e15\] or null, found 0"),
        ({"num_classes": 7}, "num_classes=7, and the model has 3 outputs"),
        ({"std": 0.0}, r"std must lie in .*found 0\.0"),
        ({"std": (0.2, -0.2)}, r"std must lie in .*found -0\.2"),
        ({"mean": float("nan")}, "mean must lie in .*found nan"),
        ({"mean": "imagenet"}, "mean must lie in .*found imagenet"),
        ({"mean": ()}, "mean must lie in .*found null"),
        ({"mean": (0.5, 0.5), "std": (0.2, 0.2, 0.2)}, "mean and std must be for the same channels"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean and std are for 3 channels, found images with 1"),
    ],
)
def test_wrong_settings_are_refused_before_training(arguments: dict[str, Any], message: str | None) -> None:
    if message is None:  # known only once images are to be mixed
        with pytest.raises(ValueError, match="give num_classes"):
            augmenter(**arguments)(IMAGES, LABELS)
        return
    with pytest.raises(ValueError, match=message):
        augmenter(**arguments)


class CutOff(ToyNet):
    """No gradient leads through its body."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, images: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.how != "no_grad"):
            features = self.body((images * 255).round() / 255 if self.how == "rounds" else images)
        logits: Tensor = self.head(features.detach() if self.how == "detach" else features)
        return logits


@pytest.mark.parametrize("how", ["no_grad", "detach"])
def test_a_backbone_without_gradient_is_refused_where_it_is_needed(how: str) -> None:
    with pytest.raises(
        ValueError, match=r"no gradient leads .* requires_grad_\(False\) instead, or take policy mixture"
    ):
        augmenter(CutOff(how))
    model = CutOff(how)
    learned = augmenter(model, policy="mixture")
    train(model, learned, epochs=1)
    assert learned.learner is not None
    assert learned.learner.updates == 4
    frozen = ToyNet()
    frozen.body.requires_grad_(False)
    assert augmenter(frozen).step(IMAGES, LABELS) is not None


def test_a_gradient_of_zero_is_said() -> None:
    with pytest.warns(UserWarning, match="does it round them"):
        augmenter(CutOff("rounds"))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:24].mul(255).to(torch.uint8), LABELS[:24], r"images must be floating point .*images\.float\(\) / 255"),
        (IMAGES[:24] * 255, LABELS[:24], "divide 8-bit images by 255"),
        ((IMAGES[:24] - 0.5) / 0.25, LABELS[:24], "negative values come from normalization"),
        (IMAGES[0], LABELS[:1], r"images must have 4 axes \[B, C, H, W\], got shape \(1, 12, 12\)"),
        (IMAGES[:0], LABELS[:0], "images is empty"),
        (IMAGES[:24], LABELS[:24] + CLASSES, r"labels must lie in 0\.\.2"),
        (IMAGES[:24], LABELS[:24].int(), r"labels must be int64 .*torch\.int32.*labels\.long\(\)"),
        (IMAGES[:24], LABELS[:23], r"expected one label for each of 24 images, found shape \(23,\)"),
        (
            list(IMAGES[:24]),
            LABELS[:24],
            r"images must be a tensor \[B, C, H, W\], found a list: convert with torch.stack",
        ),
        (IMAGES[:24].double(), LABELS[:24], "the type of the training images is torch.float64, that of the influence"),
        (IMAGES[:24].repeat(1, 3, 1, 1), LABELS[:24], "number of channels of the training images is 3, .* images 1"),
        (IMAGES[:24], LABELS[:24].to("meta"), "the images are on cpu and the labels on meta: move both"),
        (IMAGES[:24].to("meta"), LABELS[:24].to("meta"), "the device of the training images is meta, .* images cpu"),
    ],
)
def test_batches_that_are_not_what_was_said_are_refused(images: Tensor, labels: Tensor, message: str) -> None:
    learned = augmenter()
    with pytest.raises(ValueError, match=message):
        learned.step(images, labels)
    with pytest.raises(ValueError, match=message):
        augmenter(learner=LearnerSettings())(images, labels)


def test_a_state_of_another_mixture_is_refused() -> None:
    state = augmenter(policy="mixture").state_dict()
    with pytest.raises(ValueError, match=r"ops_per_image is 2 here and 1 there"):
        augmenter(policy="mixture", ops_per_image=2).load_state_dict(state)


@pytest.mark.parametrize("training_is_normalized", [True, False])
def test_images_of_which_only_one_part_is_normalized(training_is_normalized: bool) -> None:
    normalized = [(images - 0.5) / 0.25 for images in (IMAGES[:24], INFLUENCE[0])]
    images = normalized[0] if training_is_normalized else IMAGES[:24]
    influence = INFLUENCE[0] if training_is_normalized else normalized[1]
    learned = augmenter(influence=(influence, INFLUENCE[1]), mean=0.5, std=0.25)
    with pytest.raises(ValueError, match="one of them is normalized and the other is not"):
        learned.step(images, LABELS[:24])


def test_an_iterator_is_refused_by_what_reads_it_twice() -> None:
    with pytest.raises(ValueError, match="found an iterator: give a loader, or a list"):
        LearnedAugmentation(OPS, influence=iter([INFLUENCE]))


def state_of(**arguments: Any) -> dict[str, Any]:
    learned = augmenter(**arguments)
    learned.step(IMAGES[:24], LABELS[:24])
    return learned.state_dict()


def other_head(classes: int, features: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(144, features), nn.ReLU(), nn.Linear(features, classes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"model": other_head(CLASSES, 9)},
            "last layer has 3 outputs and 9 features here, 3 and 24 in the saved state",
        ),
        (
            {"model": other_head(5, 24), "influence": (INFLUENCE[0], torch.arange(60) % 5)},
            "last layer has 5 outputs and 24 features here, 3 and 24 in the saved state",
        ),
        ({"control": "flipped"}, "control is flipped here and none in the saved state"),
        ({"control": "plain"}, "control is plain here and none in the saved state"),
    ],
)
def test_a_state_of_another_loop_is_refused(arguments: dict[str, Any], message: str) -> None:
    other = augmenter(**arguments)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state_of())
    assert other.steps == 0
    if other.policy is not None:
        assert torch.equal(other.state_dict()["policy"]["policy.theta"], before["policy"]["policy.theta"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: {}, "expected the state_dict of an Augmenter or of LearnedAugmentation, found nothing"),
        (lambda state: None, "found NoneType"),
        (lambda state: ToyNet().state_dict(), "found scale, body"),
        (lambda state: {name: part for name, part in state.items() if name != "learner"}, "that was not learned"),
        (
            lambda state: {name: part for name, part in state.items() if name != "policy"},
            "the saved state has no policy",
        ),
        (
            lambda state: {**state, "policy": {name: part * torch.nan for name, part in state["policy"].items()}},
            "the policy of the saved state is NaN",
        ),
    ],
)
def test_a_state_that_is_none_is_refused(spoil: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augmenter().load_state_dict(spoil(state_of()))


def test_a_state_is_matched_by_the_names_of_ops_and_leaves_the_settings() -> None:
    settings = LearnerSettings(interval=3, warmup=0, lr=0.5, hessian_rows=10)
    resumed = augmenter(ops=dict(reversed(OPS.items())), learner=settings)
    state = state_of()
    resumed.load_state_dict(state)
    original = augmenter()
    original.load_state_dict(state)
    assert resumed.policy is not None
    assert original.policy is not None
    assert resumed.policy.describe() == original.policy.describe()
    assert [resumed.due(step) for step in (1, 2, 3)] == [False, False, True]
    assert resumed.learner is not None
    assert {group["lr"] for group in resumed.learner.optimizer.param_groups} == {0.5}
    assert len(resumed.learner.influence.bank.rows()[0]) == 10


def test_a_loop_goes_on_from_the_state_of_the_callback_and_the_reverse(tmp_path: Path) -> None:
    callback = LearnedAugmentation(OPS, INFLUENCE, "network", learner=EVERY_STEP, policy_path=None)
    toy_trainer(callbacks=[callback]).fit(
        InLightning(ToyNet()), DataLoader(TensorDataset(IMAGES, LABELS), batch_size=24)
    )
    loop = augmenter()
    loop.load_state_dict(callback.state_dict())
    assert loop.policy is not None
    assert callback.learned is not None
    assert loop.policy.describe() == callback.learned.describe()
    other = LearnedAugmentation(OPS, INFLUENCE, "network", learner=EVERY_STEP, policy_path=None)
    other.load_state_dict(loop.state_dict())
    assert other.learned is not None
    assert other.learned.describe() == callback.learned.describe()
    plain = LearnedAugmentation(OPS, INFLUENCE, control="plain").state_dict()
    with pytest.raises(ValueError, match="control is none here and plain in the saved state"):
        LearnedAugmentation(OPS, INFLUENCE).load_state_dict(plain)


def test_a_state_of_another_policy_is_refused() -> None:
    state = augmenter().state_dict()
    with pytest.raises(ValueError, match=r"bound of translate_y is 0\.1 here and 0\.4 there"):
        augmenter(ops={**OPS, "translate_y": 0.1}).load_state_dict(state)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_model_that_no_process_has_as_a_whole_is_refused() -> None:
    class FullyShardedDataParallel(nn.Sequential):
        """As torch's, which needs an accelerator, is told by its name."""

    parallel = nn.DataParallel(ToyNet())
    parallel.device_ids = [0, 1]
    for model in (FullyShardedDataParallel(ToyNet()), parallel):
        with pytest.raises(
            ValueError, match=r"no process runs its last layer as a whole: train it on one device, or in"
        ):
            augmenter(model)
    with pytest.raises(ValueError, match="compiled by TorchScript"):
        augmenter(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(144, CLASSES))))


@pytest.mark.usefixtures("process_group")
def test_a_model_whose_weights_are_divided_is_refused() -> None:
    mesh = init_device_mesh("cpu", (1,))
    model = ToyNet()
    for name, weight in list(model.head.named_parameters()):
        setattr(model.head, name, nn.Parameter(distribute_tensor(weight, mesh)))
    with pytest.raises(ValueError, match="divided among processes"):
        augmenter(model)
