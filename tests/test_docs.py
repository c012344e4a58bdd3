"""Every block of code in the documentation runs, or is checked where it cannot.

Training is made small by `SMALL`; everything else in a command is what the page says.
"""

import functools
import importlib.util
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from docs_pages import NEEDS, PAGES, ROOT, Block, blocks, image_folder, run_python, saved_policy, written
from wandb.cli.cli import cli as wandb_command

import analysis.__main__ as analyses
from augnet import load_policy
from lightning_modules.commands.cli import main
from lightning_modules.commands.create import main as create_config
from lightning_modules.commands.run_setup import bf16_is_emulated
from studies.engine import read_study

QUIET = ["--trainer.enable_progress_bar=false"]
SHORT = [
    *QUIET,
    "--run.wandb=disabled",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
]
SMALL: dict[str, list[str]] = {  # what is added to a command of train.py
    "fit": SHORT,
    "retrain": SHORT,
    "adapt": [*QUIET, "--trainer.max_epochs=1", "--trainer.limit_test_batches=1"],
    "attribute": [*QUIET, "--views=1"],
    "predict": QUIET,
    "test": QUIET,
}
SMALL_DATA = {  # the same, where the command has this word
    "configs/cifar10.yaml": [
        *("--data.influence_size=8", "--data.val_size=4", "--data.batch_size=8"),
        *(["--trainer.precision=32-true"] if bf16_is_emulated() else []),  # 7 times as fast there
    ],
    "configs/digits.yaml": ["--data.image_size=8", "--run.compare=[plain]"],
}
REPLACED = {"docs/tutorial.md": {"epochs = 20": "epochs = 1"}}  # text of Python blocks
LANGUAGES = {"python", "bash", "yaml", "text"}
WITH_CODE = [page for page in PAGES if blocks(page)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on digits, as the pages have one in `runs/NAME`."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        config = ROOT / "configs" / "digits.yaml"
        more = [f"--run.folder={folder}", "--run.compare=[]", "--data.image_size=8"]
        main(["fit", f"--config={config}", *SHORT, *more])
    return folder / "digits"


@pytest.fixture
def workplace(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the commands of the pages are typed, with the files that the pages presume."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    for folder in ("configs", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    for name in ("digits", "NAME"):
        shutil.copytree(run, tmp_path / "runs" / name)
    saved_policy("runs/digits/policy.json")
    image_folder("FOLDER")
    image_folder("DEPLOYMENT_FOLDER")
    shutil.rmtree("DEPLOYMENT_FOLDER/test")
    Path("rows.txt").write_text("0\n1\n2\n")
    return tmp_path


# Rules for commands


def train(words: list[str]) -> None:
    """Run it, made small; what the page itself says comes later and wins."""
    data = [option for word, options in SMALL_DATA.items() if word in words for option in options]
    own = 2 + max(number for number, word in enumerate(words) if word == "--config")  # after the last configuration
    main([*words[2:own], *SMALL[words[2]], *data, *words[own:]])


def create(words: list[str]) -> None:
    """Look at the folders."""
    create_config(words[3:])


def analyse(words: list[str]) -> None:
    """Read its arguments as the program does, without the analysis itself, which has tests of its own."""
    if words[3] == "NAME":  # says how the commands below it are made
        return
    called = []
    stubs = {name: functools.wraps(one)(lambda **_: called.append(True)) for name, one in analyses.ANALYSES.items()}
    analyses.main(words[3:], stubs)
    assert called == [True]


def module(words: list[str]) -> None:
    """It exists; benchmarks take minutes to hours."""
    assert importlib.util.find_spec(words[2]) is not None


def study(words: list[str]) -> None:
    """Its file exists; it trains for minutes to hours."""
    assert (ROOT / "studies" / f"{words[3]}.yaml").is_file()


def program(words: list[str]) -> None:
    """It exists; `test_examples` runs it."""
    assert (ROOT / words[1]).is_file()


def filtered(words: list[str]) -> None:
    """The program behind the filter of warnings exists."""
    program([words[0], words[3]])


def make(words: list[str]) -> None:
    """Its target exists; it installs or takes minutes."""
    assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)


def wandb(words: list[str]) -> None:
    """Its command exists; it needs an account, or a terminal."""
    command: Any = wandb_command
    for word in words[1:]:
        if "/" in word or not hasattr(command, "commands"):  # what follows are its arguments
            break
        command = command.commands[word]


def tensorboard(words: list[str]) -> None:
    """Its package is there; the command serves until it is stopped."""
    assert words[1] == "--logdir"
    assert importlib.util.find_spec("tensorboard") is not None


def extra(words: list[str]) -> None:
    """The extra is declared."""
    name = re.fullmatch(r"augfluence\[(\w+)\]", words[2])
    assert name is not None
    assert name[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


RULES: dict[tuple[str, ...], Callable[[list[str]], None]] = {
    ("python", "train.py", "create"): create,
    ("python", "-W"): filtered,
    ("python", "train.py"): train,
    ("python", "-m", "analysis"): analyse,
    ("python", "-m", "studies"): study,
    ("python", "-m"): module,
    ("python",): program,
    ("make",): make,
    ("wandb",): wandb,
    ("tensorboard",): tensorboard,
    ("pip", "install"): extra,
}


def obey(words: list[str], where: Block) -> None:
    """Do with a command what the first rule says that it begins with."""
    for beginning, rule in RULES.items():
        if tuple(words[: len(beginning)]) == beginning:
            rule(words)
            return
    pytest.fail(f"{where}: no rule says how to test `{' '.join(words)}`")


# Pages


def policies(names: dict[str, Any]) -> None:
    """Masks and boxes follow; ONNX gives the pixels of torch; the transform takes PIL images."""
    assert names["masks"].shape == (4, 20, 20)
    assert names["masks"].dtype == torch.bool
    assert names["boxes"].shape == (4, 1, 4)
    images, augmented = names["images"], torch.from_numpy(names["augmented"])
    magnitudes = names["policy"].policy.magnitudes(None, None, torch.from_numpy(names["draws"]["policy_uniform"]))
    expected = names["policy"].space.apply(torch.from_numpy(images), magnitudes)
    torch.testing.assert_close(augmented, expected, rtol=0, atol=1e-5)
    assert names["transform"](PIL.Image.new("L", (8, 8), 128)).shape == (1, 8, 8)


def influence(names: dict[str, Any]) -> None:
    """It is the derivative of the held-out loss, with the Hessian as a dense matrix."""
    hessian, logits, held_out = names["hessian"], names["logits"], names["held_out_logits"]
    errors = logits.softmax(dim=1) - torch.nn.functional.one_hot(names["labels"], logits.shape[1])
    error = held_out.softmax(dim=1) - torch.nn.functional.one_hot(names["held_out_labels"], logits.shape[1])
    right = torch.cat([names["held_out_features"], torch.ones(len(held_out), 1)], dim=1)
    exact = torch.linalg.solve(hessian.dense(), (error.T @ right / len(held_out)).flatten()).view(hessian.shape)
    expected = -((hessian.rows @ exact.T) * errors).sum(dim=1)
    torch.testing.assert_close(names["influence"], expected, rtol=1e-2, atol=float(1e-2 * expected.abs().max()))


def analysis_page(names: dict[str, Any]) -> None:
    """The loss of the page carries gradient to the network."""
    assert names["moments"].factor.shape == (16, 3, 8, 8)
    names["loss"].backward()
    assert all(parameter.grad is not None for parameter in names["network"].parameters())


def own_module(names: dict[str, Any]) -> None:
    """The policy file is what the callback has learned."""
    assert load_policy("policies/mine.json").describe() == names["augmentation"].learned.describe()


def guard(names: dict[str, Any]) -> None:
    """The policy is back where it was healthy."""
    described = names["augnet"].describe()["rotation"]
    assert described["half_width"] == pytest.approx(0.1 * described["bound"])


def tutorial(names: dict[str, Any]) -> None:
    """Four disjoint folders of all digits; every command left its files; the policy is the one of the run."""
    found = {folder: {path.name for path in Path(folder).glob("*/*.png")} for folder in names["parts"]}
    assert [len(files) for files in found.values()] == [1000, 200, 200, 397]
    assert len(set.union(*found.values())) == 1797
    assert set(names["summary"]["test_accuracy"]) == {"learned", "plain", "uniform", "shuffled"}
    assert names["augment"].describe() == names["summary"]["ranges"]
    assert Path("runs/photos/retrained/predictions.csv").is_file()
    assert torch.isfinite(names["loss"])


def studies(names: dict[str, Any]) -> None:
    """The study of the page can be built; every run of the other one is a Ray task; the kind has a run."""
    for setting in read_study(Path("studies/noise.yaml")).settings().values():
        setting.check()
    assert len(set(sys.modules.pop("ray").asked)) == len(names["study"].settings()) > 100
    assert names["KIND"].setting(seed=0, size=2).run(names["cache"]) == {"test": 0.95}


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "docs/analysis.md": analysis_page,
    "docs/guard.md": guard,
    "docs/influence.md": influence,
    "docs/own_module.md": own_module,
    "docs/policies.md": policies,
    "docs/studies.md": studies,
    "docs/tutorial.md": tutorial,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the influence set of .* of which influence_size=8 are used")
@pytest.mark.parametrize("page", WITH_CODE)
def test_every_block_of_the_page(page: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = NEEDS.get(page, dict)()
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: name the language of the block, one of {LANGUAGES}"
        if block.language == "yaml":
            written(block)
        if block.language == "python":
            run_python(block, names, REPLACED.get(page, {}))
        if block.language == "bash":
            for words in block.commands:
                obey(words, block)
    if page in CHECKS:
        CHECKS[page](names)


def test_what_a_page_says_is_printed_is_printed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("docs/guard.md")
    run_python(block, {}, {})
    said = " ".join(line.removeprefix("# ") for line in block.code.split("print(guard.check(sick))\n")[1].splitlines())
    assert capsys.readouterr().out == f"{said}\n"


def test_every_replacement_is_of_text_that_is_there() -> None:
    for page, replaced in REPLACED.items():
        code = "".join(block.code for block in blocks(page) if block.language == "python")
        assert all(code.count(text) == 1 for text in replaced), page


def test_a_command_without_a_rule_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"README.md:7: no rule .*curl"):
        obey(["curl", "example"], Block("bash", "curl example", "README.md", 7))
