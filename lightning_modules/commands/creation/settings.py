"""Settings of a run on a folder of images, chosen from what the folder holds; each with the reason for it."""

from typing import Any

from lightning_modules.commands.creation.commented_yaml import Setting, Settings
from lightning_modules.commands.creation.description import UNEQUAL
from lightning_modules.commands.creation.sizes import Sizes, choose_side, choose_sizes, imbalance, side_in_pixels
from lightning_modules.data.folder_facts import FolderFacts

_SMALL_SIDE = 40  # pretrained networks are made for larger images
_MEMORY_LIMIT = 2048  # MiB, the default of `ImageDataModule`
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_IMAGENET_GRAY = ([0.449], [0.226])


def is_pretrained(facts: FolderFacts, scratch: bool) -> bool:
    """Return True if the network begins with pretrained weights: images are large enough, and `scratch` is not set."""
    return not scratch and side_in_pixels(facts) > _SMALL_SIDE


def choose_settings(facts: FolderFacts, name: str, scratch: bool) -> Settings:
    """Choose all settings of a run.

    Args:
        facts: Facts of the folder.
        name: Name of the run.
        scratch: True for a network that begins with random weights, so that nothing is downloaded.
    """
    pretrained = is_pretrained(facts, scratch)
    sizes = choose_sizes(facts, pretrained)
    return {
        "seed_everything": Setting(0, "repeat with 1, 2, ... before you trust a difference of a point"),
        "run": _run(facts, name),
        "trainer": {
            "max_epochs": Setting(sizes.epochs, f"about {sizes.steps:,} steps"),
            "accelerator": Setting("auto", "a GPU if there is one"),
            "devices": Setting(1, "or more: ranks that share a batch learn what one process would"),
            "precision": Setting("32-true", "bf16-mixed is faster on recent GPUs and CPUs, slower on older CPUs"),
            "log_every_n_steps": Setting(min(10, sizes.steps_per_epoch)),
            "enable_model_summary": Setting(False),
        },
        "model": {**_network(facts, pretrained, sizes), **_policy(facts, sizes), **_samples(facts)},
        "data": {"class_path": Setting("ImageDataModule"), "init_args": _data(facts, sizes)},
    }


def _run(facts: FolderFacts, name: str) -> Settings:
    """Return the settings of folder, logs and comparison."""
    labelled = facts.test_labelled
    plain = "plain training too, for the table at the end; [plain, uniform] shows more and takes longer"
    without = "a comparison needs labels of the test images"
    return {
        "name": Setting(name, f"files go to runs/{name}, or runs/{name}-2, ... if that is taken"),
        "compare": Setting(["plain"] if labelled else [], plain if labelled else without),
        "test": Setting(labelled, "" if labelled else "the test images have no labels: they are for predict"),
        "wandb": Setting("offline", "files only, no account: offline | online | disabled"),
    }


def _network(facts: FolderFacts, pretrained: bool, sizes: Sizes) -> Settings:
    """Return the settings of network, optimizer and normalization."""
    side, gray = side_in_pixels(facts), facts.channels == 1
    arguments: dict[str, Any] | None
    if side > _SMALL_SIDE:
        model, arguments = "timm/resnet18", {"pretrained": True} if pretrained else None
        why = "of timm; timm/NAME, pytorchcv/NAME or the import path of your own class"
        loads = "its weights are downloaded once; null begins with random ones" if pretrained else "random weights"
    elif sizes.train >= 10_000:
        model, arguments = "lightning_modules.classifier.models.WideResNet", {"depth": 16, "widen_factor": 2}
        why, loads = f"a residual network for small images, of {side} pixels here", "more of either is more accurate"
    else:
        model, arguments = "lightning_modules.classifier.models.SmallConvNet", {"width": 8 if gray else 16}
        why, loads = f"a small network for {sizes.train:,} images of {side} pixels", "more is more accurate and slower"
    mean, std = (list(facts.mean), list(facts.std))
    if pretrained:
        mean, std = _IMAGENET_GRAY if gray else _IMAGENET
    source = "of the pretrained weights" if pretrained else "measured on the images that were opened"
    rate = 0.01 if pretrained else 0.1
    optimizer = {"lr": rate, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0005}
    return {
        "model": Setting(model, why),
        "model_kwargs": Setting(arguments, loads),
        "optimizer": {
            "class_path": Setting("torch.optim.SGD"),
            "init_args": Setting(optimizer, "a tenth of the rate of random weights" if pretrained else ""),
        },
        "lr_schedule": Setting("one_cycle", "one_cycle | cosine | multi_step | constant"),
        "pixel_mean": Setting(mean, f"subtracted from each channel, {source}"),
        "pixel_std": Setting(std, "and divided by this"),
    }


def _policy(facts: FolderFacts, sizes: Sizes) -> Settings:
    """Return the settings of the policy and its learner."""
    interval = min(10, max(1, sizes.steps // 300))
    mirrored = facts.channels == 3 and not all(len(name) == 1 or name.isdigit() for name in facts.counts)
    photos = "in front of the learned policy; none for images that must not be mirrored, as text"
    signs = "in front of the learned policy; flip_crop for photos, not for digits or text, which it mirrors"
    ops = {
        "rotation": Setting(45.0, "degrees"),
        "translate_x": Setting(0.2, "fraction of the image side"),
        "translate_y": Setting(0.2),
        "scale": Setting(0.7, "octaves: 2^0.7 = 1.62"),
        "shear_x": Setting(30.0, "degrees"),
        "brightness": Setting(0.3, "fraction of the full range, added"),
        "contrast": Setting(1.0, "stops: the distance from the mean gray times 2^m"),
    }
    if facts.channels == 3:
        ops["saturation"] = Setting(1.0, "stops: the distance from gray times 2^m")
        ops["hue"] = Setting(45.0, "degrees in the chroma plane")
    return {
        "base_policy": Setting("flip_crop" if mirrored else "none", photos if mirrored else signs),
        "policy": Setting("ranges", "one range for each op; docs/policies.md has the others"),
        "initial_range": Setting(0.05, "start at a twentieth of each bound"),
        "ops": ops,
        "learner": {
            "interval": Setting(
                interval, f"steps from one policy update to the next: {sizes.steps // interval:,} updates"
            ),
            "warmup": Setting(min(100, sizes.steps // 10), "steps before the first"),
            "probe": Setting(0.2, "narrower ranges are looked at as if they had this share of their bounds"),
        },
    }


def _samples(facts: FolderFacts) -> Settings:
    """Return whether weights of the training images are learned: the setting for unequal classes."""
    ratio = imbalance(facts.counts)
    complete = facts.influence is not None and all(facts.influence.counts.values())
    learned = ratio >= UNEQUAL and complete
    if ratio < UNEQUAL:
        why = f"the largest class has {ratio:.1f} times the images of the smallest: no weights are needed"
    elif learned:
        why = (
            f"classes are unequal ({ratio:.0f} to 1): images are drawn as often as the influence set's classes ask for"
        )
    else:
        why = (
            f"classes are unequal ({ratio:.0f} to 1): true balances them by an influence set from deployment that has "
            "every class, which is not here; otherwise repeat the images of rare classes"
        )
    return {"samples": {"weights": Setting(learned, why)}}


def _data(facts: FolderFacts, sizes: Sizes) -> Settings:
    """Return the arguments of the data module."""
    side, own = choose_side(facts), facts.influence
    pixels = side.value**2 if side.value else facts.probe.sizes[0][0] * facts.probe.sizes[0][1]
    fits = sizes.train * facts.channels * pixels <= _MEMORY_LIMIT * 2**20
    cut = f"cut off the {sum(facts.counts.values()):,} training images"
    from_folder = "at most, from the folder" if own else f"{cut}; images that look like deployment are better"
    tested = f"null takes all of the test folder ({facts.splits.get('test', 0):,})"
    return {
        "path": Setting(facts.path),
        "image_size": side,
        "influence_path": Setting(own and own.path, "" if own else "a folder of images that look like deployment"),
        "influence_size": Setting(sizes.influence, from_folder),
        "influence_source": Setting(
            "held_out", "held_out | cross_fit, folds in turn | train, for a frozen policy or none"
        ),
        "val_size": Setting(sizes.validation, "at most, from the folder" if "validation" in facts.splits else cut),
        "test_size": Setting(None, tested if "test" in facts.splits else "null cuts a fifth off the training images"),
        "batch_size": Setting(sizes.batch, f"{sizes.steps_per_epoch:,} steps an epoch"),
        "num_workers": Setting(0 if fits else 4, "the decoded images fit in memory" if fits else "decode on the fly"),
        "seed": Setting(0, "of the splits"),
    }
