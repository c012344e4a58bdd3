"""Settings that mean nothing: hundreds of command lines in one process, each of which must end in one paragraph."""

import contextlib
import random
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from lightning_modules.commands.cli import AugfluenceCLI, build_cli, main
from lightning_modules.commands.run_setup import check_trainer
from lightning_modules.commands.terminal import mistakes_in_one_line, quieten

DIGITS = Path(__file__).parents[1] / "configs" / "digits.yaml"
LONGEST = 1200  # characters of a paragraph
CASES = 1000
SEED = 20

NOT_A_NUMBER = (".nan", ".inf", "-.inf", "1e30", "-1e30", "null", "many", "[]", "{}", "''", "[1, 2]")
NOT_A_COUNT = (*NOT_A_NUMBER, "-1", "1000000000000", "0.5")
NOT_A_NAME = ("nothing", "''", "[]", "3", "null")
NOT_A_SWITCH = ("maybe", "3", "null", "[]", "''")

NUMBERS = {  # and what else means nothing for each; a setting that may be null is in NULLABLE
    "model.initial_range": "0 -0.1 1.5",
    "model.policy_probability": "-0.1 0 1.1",
    "model.label_smoothing": "-0.1 1",
    "model.lr_factor": "0 1 -1",
    "model.distinctive_weight": "-1",
    "model.pixel_mean": "-1 256",
    "model.pixel_std": "0 -1 1e-30 255",
    "model.optimizer.init_args.lr": "-1 0 1e9",
    "model.optimizer.init_args.momentum": "-1 1 2",
    "model.optimizer.init_args.weight_decay": "-1 1e9",
    "model.optimizer.init_args.dampening": "-1 2",
    "model.learner.lr": "0 -1 100",
    "model.learner.until": "0 -1 2",
    "model.learner.damping": "0 -1",
    "model.learner.tol": "0 -1 1",
    "model.learner.clip": "0 -1",
    "model.learner.radius": "0 -1",
    "model.learner.kl": "-1",
    "model.learner.sparsity": "-1",
    "model.learner.probe": "-1 1",
    "model.learner.ema": "-1 1",
    "model.learner.freeze": "-1 2",
    "model.guard.min_retention": "-1 2",
    "model.guard.max_saturated": "-1 2",
    "model.guard.max_residual": "0 -1",
    "model.samples.lr": "0 -1",
    "model.samples.label_lr": "0 -1",
    "model.samples.clip": "0 -1",
    "model.samples.smoothing": "0 1",
    "data.deployment_rotation": "-1 181",
    "trainer.gradient_clip_val": "-1",
    "trainer.overfit_batches": "-1",
}
COUNTS = {
    "model.ops_per_image": "0 2 3",
    "model.learner.interval": "0",
    "model.learner.warmup": "",
    "model.learner.refresh": "",
    "model.learner.hessian_rows": "0 1000000000",
    "model.learner.max_iterations": "0",
    "model.guard.patience": "0",
    "model.guard.max_rollbacks": "0",
    "model.samples.warmup": "",
    "model.samples.refresh": "0",
    "model.staged.steps": "0",
    "model.staged.pretrain": "",
    "data.batch_size": "0",
    "data.num_workers": "",
    "data.seed": "",
    "data.folds": "0 1",
    "data.fold_epochs": "0 1000000",
    "data.influence_size": "0 5000",
    "data.val_size": "0 5000",
    "data.test_size": "0 5000",
    "data.image_size": "0 1",
    "run.threads": "0",
    "trainer.accumulate_grad_batches": "0",
    "trainer.devices": "0 1000",
    "trainer.max_epochs": "0",
    "trainer.check_val_every_n_epoch": "0",
    "trainer.log_every_n_steps": "-5",
    "trainer.max_steps": "0 -5",
    "trainer.min_epochs": "",
    "trainer.min_steps": "",
    "trainer.num_nodes": "0",
    "trainer.reload_dataloaders_every_n_epochs": "",
    "trainer.num_sanity_val_steps": "-5",
    "trainer.limit_test_batches": "0",
    "trainer.limit_train_batches": "0",
    "trainer.limit_val_batches": "",
}
NAMES = (
    "model.model",
    "model.policy",
    "model.base_policy",
    "model.schedule",
    "model.control",
    "model.lr_schedule",
    "model.distinctive",
    "model.distinctive_merge",
    "model.optimizer",
    "data.influence_source",
    "run.wandb",
    "run.compare",
    "trainer.accelerator",
    "trainer.precision",
    "trainer.gradient_clip_algorithm",
    "trainer.profiler",
)
SWITCHES = (
    "model.decay_kernels_only",
    "model.channels_last",
    "model.samples.weights",
    "model.samples.soft_labels",
    "model.optimizer.init_args.nesterov",
    "model.optimizer.init_args.fused",
    "model.optimizer.init_args.foreach",
    "run.test",
    "run.tensorboard",
    "trainer.benchmark",
    "trainer.detect_anomaly",
    "trainer.inference_mode",
    "trainer.sync_batchnorm",
    "trainer.use_distributed_sampler",
)
OF_IMAGES = {"data.train_size": "0", "data.image_size": "0 1", "data.memory_limit": "", "data.val_size": "0"}
NULLABLE = {  # of the values above: those that mean something there
    *(f"{name}=null" for name in ("model.learner.radius", "run.threads", "model.base_policy")),
    *(f"trainer.{name}=null" for name in ("accumulate_grad_batches", "devices", "max_epochs", "gradient_clip_val")),
    *(f"trainer.limit_{name}_batches={value}" for name in ("train", "val", "test") for value in ("null", "0.5")),
    *(f"{name}=0.5" for name in ("trainer.accumulate_grad_batches",)),
    "run.compare=[]",
    *(f"model.optimizer.init_args.{name}=null" for name in ("nesterov", "fused", "foreach")),
    *(f"trainer.{name}=null" for name in ("min_epochs", "min_steps", "benchmark", "inference_mode", "sync_batchnorm")),
    *(f"trainer.{name}=null" for name in ("detect_anomaly", "use_distributed_sampler", "profiler", "num_nodes")),
    "trainer.gradient_clip_algorithm=null",
    "run.compare=null",
    "trainer.max_epochs=-1",
    "trainer.max_steps=-1",
    "trainer.devices=-1",
    "trainer.num_sanity_val_steps=-1",
    *(f"trainer.{name}=null" for name in ("log_every_n_steps", "check_val_every_n_epoch", "num_sanity_val_steps")),
    "trainer.overfit_batches=null",
    "trainer.overfit_batches=0.5",
    "trainer.precision=null",
}
IMAGES = ("--data=ImageDataModule", "--data.path=nowhere")
WHOLE = (  # those that single values do not reach
    ["--model.optimizer=SparseAdam"],
    ["--model.model_kwargs={num_classes: 3}"],
    ["--model.model_kwargs={depth: 3}"],
    ["--model.ops={translate_x: 50}"],
    ["--model.ops={rotation: 1e-30}"],
    ["--model.ops={rotation: .nan}"],
    ["--model.ops={rotation: null}"],
    ["--model.ops={rotatoin: 30}"],
    ["--model.ops=[]"],
    ["--model.ops=null"],
    ["--model.schedule=staged", "--model.control=plain"],
    ["--trainer.val_check_interval=0"],
    ["--model.policy=ranges", "--model.ops_per_image=2"],
    ["--model.policy=field", "--model.control=uniform"],
    ["--model.lr_schedule=multi_step", "--model.lr_milestones=[0.5, 0.2]"],
    ["--model.lr_milestones=[.nan]"],
    ["--model.lr_milestones=[]"],
    ["--model.pixel_mean=[0.5, 0.5]"],
    ["--model.pixel_std=[.nan]"],
    ["--model.samples.weights=true", "--model.distinctive=cosine"],
    ["--model.distinctive=rbf", "--model.distinctive_merge=logits"],
    ["--run.compare=[plain, plain]"],
    ["--run.folder=null"],
    ["--run.folder="],
    ["--run.name="],
    ["--run.unknown=3"],
    ["--trainer.accelerator=tpu"],
    ["--data.influence_source=train"],
    ["--model.optimizer.init_args.maximize=true"],
    ["--model.optimizer.init_args.differentiable=true"],
    ["--model.policy_file=/tmp"],
    ["--model.policy_file=/dev/null"],
    ["--model.augmentation=torch.nn.Linear"],
    ["--trainer.max_time=00:00:00:00"],
    ["--trainer.deterministic=3"],
    ["--trainer.strategy=nothing"],
    ["--trainer.fast_dev_run=-1"],
    ["--trainer.callbacks=[3]"],
    ["--data=Nothing"],
    [*IMAGES, "--data.label_column=[]"],
    [*IMAGES, "--data.label_column=[cat]"],
    [*IMAGES, "--data.label_column=[cat, cat]"],
    [*IMAGES, "--data.label_separator= "],
    [*IMAGES, "--data.label_separator=|", "--data.label_column=[cat, dog]"],
)
DIVERGING = (
    "--model.control=plain",
    "--model.lr_schedule=constant",
    "--model.optimizer.init_args.lr=100",
    "--model.optimizer.init_args.weight_decay=100",
    "--trainer.limit_train_batches=15",
)
RUNS = (  # the whole command, in a folder of its own, and a part of its message
    (["--model.control=plain", "--model.optimizer.init_args.lr=.nan"], "optimizer.lr must lie in"),
    ([*DIVERGING], "has diverged: after step 15"),
    (["--model.control=plain", "--model.optimizer=SparseAdam"], "dense: take Adam"),
    (["--run.name=" + "x" * 300], "run.name"),
    (["--run.folder=/dev/null/runs"], "/dev/null/runs"),
    (["--model.learner.hessian_rows=1000000000"], "learner.hessian_rows must lie in"),
    (["--trainer.accelerator=tpu"], "torch_xla"),
    (["--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches must lie in"),
    (["--trainer.limit_test_batches=0"], "set run.test to false"),
    (["--trainer.devices=1000"], "cores"),
    (["--run.compare=[plain, plain]"], "each control may be given once"),
    (["--model.nothing=3"], "nothing"),
    (["--seed_everything=-1"], "from 0 to 4294967295"),
)


def single_cases() -> list[list[str]]:
    """Every setting with every value that means nothing for it, in a shuffled order that depends on the seed alone."""
    found = []
    for settings, common in ((NUMBERS, NOT_A_NUMBER), (COUNTS, NOT_A_COUNT)):
        found += [(name, value) for name, more in settings.items() for value in (*common, *more.split())]
    found += [(name, value) for name in NAMES for value in NOT_A_NAME]
    found += [(name, value) for name in SWITCHES for value in NOT_A_SWITCH]
    arguments = [f"{name}={value}" for name, value in found]
    cases = [[f"--{one}"] for one in dict.fromkeys(arguments) if one not in NULLABLE]
    random.Random(SEED).shuffle(cases)
    return cases


def of_image_folders() -> list[list[str]]:
    """The settings of the other data module, which come before its missing path."""
    pairs = [(name, value) for name, more in OF_IMAGES.items() for value in (*NOT_A_COUNT, *more.split())]
    nullable = ("data.train_size=null", "data.image_size=null")
    return [[*IMAGES, f"--{name}={value}"] for name, value in pairs if f"{name}={value}" not in nullable]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration of the digits, at 8 pixels and quiet."""
    settings = yaml.safe_load(DIGITS.read_text())
    settings["data"]["init_args"] |= {"image_size": 8}
    settings["run"] |= {"wandb": "disabled", "compare": []}
    settings["trainer"] |= {"max_epochs": 1, "limit_train_batches": 3, "enable_progress_bar": False}
    path = tmp_path_factory.mktemp("settings") / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return f"--config={path}"


@pytest.fixture(scope="module")
def cli(small: str) -> Iterator[AugfluenceCLI]:
    """A command line whose parser is used again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        quieten()
        yield build_cli([small], run=False)


def complaint(cli: AugfluenceCLI, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """The message for a command line up to the check of the data; None if it is accepted; other errors are raised."""
    try:
        with mistakes_in_one_line():
            config = cli.parser.parse_args(arguments)
            check_trainer(config.trainer)
            built = cli.parser.instantiate_classes(config)
            built.model.check_data(built.data)
            cli.trainer_class(**{**built.trainer, "logger": False, "enable_checkpointing": False})
    except SystemExit as stop:
        if stop.code == 2:
            return capsys.readouterr().err
        raise
    return None


def fault_of(message: str | None) -> str | None:
    """What is wrong with the answer to a command line that means nothing; None if it is one paragraph."""
    if message is None:
        return "accepted"
    text = message[message.find("error: ") :].replace("\n(AUGFLUENCE_TRACEBACK=1 shows where this was found.)\n", "")
    if len(text) > LONGEST or len(text.splitlines()) > 3 or "usage:" in message or "Traceback" in message:
        return f"no paragraph: {message}"
    return None


def unnamed(case: list[str], message: str) -> str | None:
    """What is wrong with a message that does not name the setting that the last argument sets; None if it does."""
    name = case[-1].removeprefix("--").partition("=")[0]
    if "cannot be built with" in message:  # a setting of a network
        return None
    named = ("optimizer",) if "optimizer" in name else (name, name.rpartition(".")[2])
    return None if any(one in message for one in named) else f"does not name the setting: {message}"


@pytest.mark.slow
def test_settings_that_mean_nothing(
    cli: AugfluenceCLI, small: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [*WHOLE, *of_image_folders(), *single_cases()]
    assert len(cases) >= CASES
    wrong = []
    for case in cases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                message = complaint(cli, [small, *case], capsys)
            fault = fault_of(message) or unnamed(case, str(message))
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            wrong.append(f"python train.py fit --config configs/digits.yaml {shlex.join(case)}\n    {fault}")
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)


def test_every_setting_is_fuzzed(cli: AugfluenceCLI) -> None:
    """A new setting of the model, the data or the run needs a place in the tables."""
    elsewhere = ("class_path", "model.optimizer.init_args.", "model.augmentation", "model.policy_file")
    fuzzed = {*NUMBERS, *COUNTS, *NAMES, *SWITCHES} | {case[-1].partition("=")[0].removeprefix("--") for case in WHOLE}
    names = {name.replace("data.init_args.", "data.") for name in cli.config.keys()}  # noqa: SIM118 - a Namespace
    own = {name for name in names if name.split(".")[0] in ("model", "data", "run")}
    assert {name for name in own - fuzzed if not any(part in name for part in elsewhere)} == set()


def test_settings_that_mean_something(cli: AugfluenceCLI, small: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The fuzzed path accepts what is well: otherwise it would refuse anything."""
    for more in ([], ["--model.policy=mixture", "--model.ops_per_image=2"], ["--model.learner.radius=null"]):
        assert complaint(cli, [small, *more], capsys) is None, more


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (lambda: torch.empty(2**50), "not enough memory"),
        (lambda: Path("x" * 300).write_text(""), "cannot be opened (File name too long)"),
        (lambda: Path("/dev/null/x").write_text(""), "cannot be opened (Not a directory)"),
    ],
)
def test_faults_in_words(failing: Callable[[], object], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, mistakes_in_one_line():
        failing()
    assert caught.value.code == 1
    found = capsys.readouterr().err
    assert fault_of(found) is None
    assert message in found


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), RUNS, ids=lambda value: str(value)[:60])
def test_commands_that_mean_nothing(
    arguments: list[str],
    message: str,
    small: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(SystemExit) as caught, contextlib.redirect_stdout(None):
        main(["fit", small, f"--run.folder={tmp_path / 'runs'}", *arguments])
    assert caught.value.code == 2
    found = capsys.readouterr().err
    assert fault_of(found) is None
    assert message in found
