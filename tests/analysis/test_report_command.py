"""`python -m analysis report`: which sections it has for which runs, what it says of what is missing, and escaping."""

import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from finished_runs import digits_run
from report_runs import EVIL, NAMES, evaluated_run, odd_run, write_findings

from analysis.__main__ import main

pytestmark = pytest.mark.slow  # whole runs and commands

SECTIONS = (
    "accuracy", "run0-learned", "run0-pictures", "run0-ops", "run0-influence", "run0-harmful", "run0-moments",
    "run0-landscape", "run0-exchange_rate", "run0-class_effects", "run0-provenance",
)  # fmt: skip


class Outline(HTMLParser):
    """Tags, headings and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("seeds")
    return [evaluated_run(folder, f"--seed_everything={seed}", "--run.compare=[plain]") for seed in (0, 1)]


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another setting and the same name."""
    return evaluated_run(tmp_path_factory.mktemp("mixture"), "--model.policy=mixture", "--seed_everything=1")


@pytest.fixture(scope="module")
def page(seeds: list[Path]) -> Outline:
    """The page of the first of them, which is written beside it."""
    return page_of(seeds[0])


def page_plot(page: Outline, beginning: str) -> str:
    """The alternative text of a drawing."""
    labels = [attributes.get("aria-label") or "" for tag, attributes in page.tags if tag == "svg"]
    return next(label for label in labels if label.startswith(beginning))


def page_of(*arguments: str | Path, images: int = 40) -> Outline:
    """Run the command, and read its page."""
    words = [str(one) for one in arguments]
    main(["report", *words, "--device=cpu", f"--images={images}"])
    out = next((word.split("=", 1)[1] for word in words if word.startswith("--out=")), f"{words[0]}/report.html")
    return Outline(Path(out).read_text())


def test_one_run_end_to_end_and_again(page: Outline, seeds: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    def undated() -> str:
        text = (seeds[0] / "report.html").read_text()
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text)

    first = undated()
    page = page_of(seeds[0])
    assert undated() == first
    assert set(SECTIONS) <= set(page.ids())
    assert len(set(page.ids())) == len(page.ids())
    summary = json.loads((seeds[0] / "summary.json").read_text())["test_accuracy"]
    points = 100 * (summary["learned"] - summary["plain"])
    assert f"{100 * summary['learned']:.1f} % on 397 test images" in page.words
    assert re.search(rf"Learned minus plain \(.*\): [+\N{{MINUS SIGN}}]?{abs(points):.1f} points\.", page.words)
    assert "This is one seed" in page.words
    assert f"To measure it: python -m analysis moments {seeds[0]}." in page.words
    assert f"Written: {seeds[0] / 'report.html'}" in capsys.readouterr().out


def test_the_page_needs_nothing_beside_it(page: Outline, seeds: list[Path]) -> None:
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:")), (tag, address)
    style = (seeds[0] / "report.html").read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    links = [
        a["href"] for tag, a in page.tags if tag in ("a", "use") for a in [a] if (a.get("href") or "").startswith("#")
    ]
    assert {link[1:] for link in links if link} <= set(page.ids())


def test_several_seeds_give_means_and_paired_differences(
    seeds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["report", *map(str, seeds), "--images=20"])
    page = Outline((tmp_path / "report.html").read_text())
    found = [json.loads((run / "summary.json").read_text())["test_accuracy"] for run in seeds]
    mean = 100 * sum(one["learned"] for one in found) / 2
    assert f"{mean:.1f} % on 397 test images, mean of 2 seeds" in page.words
    bounds = re.findall(r"(\d+\.\d) \((\d+\.\d) to (\d+\.\d)\)", page_plot(page, "Test accuracy in percent"))
    assert bounds
    assert all(0 <= float(low) <= float(value) <= float(high) <= 100 for value, low, high in bounds)
    assert "over 2 paired seeds (95 % interval" in page.words
    assert {"policies", "run0", "run1", "run0-ops", "run1-ops"} <= set(page.ids())
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_runs_of_one_seed_are_not_averaged(seeds: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(seeds[0], seeds[0].parent / "again"))
    with pytest.raises(SystemExit) as end:
        main(["report", str(seeds[0]), str(copy)])
    assert end.value.code == 2
    assert "two runs have the arm learned with seed 0" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_of_other_settings_stand_beside_each_other(seeds: list[Path], mixture: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(mixture, tmp_path / "mixed"))
    page = page_of(seeds[0], other, f"--out={tmp_path / 'both.html'}", images=0)
    assert "Test accuracy (learned (digits))" in page.words
    assert "Test accuracy (learned (mixed))" in page.words
    assert "policies" not in page.ids()
    assert "The mixture takes these most often" in page.words
    assert "How often each op is taken, and how strongly" in page.words


@pytest.mark.slow
def test_runs_of_one_name_and_other_settings_are_told_apart(seeds: list[Path], mixture: Path, tmp_path: Path) -> None:
    """Each has its own times and, in the plot and the table, its own name."""
    assert mixture.name == seeds[0].name
    times: list[Path] = []
    for run, seconds in ((seeds[0], 11.0), (mixture, 222.0)):
        summary = json.loads((run / "summary.json").read_text())
        summary["seconds_by_arm"] = dict.fromkeys(summary["test_accuracy"], seconds)
        copy = Path(shutil.copytree(run, tmp_path / f"timed{len(times)}" / run.name))
        (copy / "summary.json").write_text(json.dumps(summary))
        times.append(copy)
    page = page_of(*times, f"--out={tmp_path / 'both.html'}", images=0)
    for run in times:
        assert f"Test accuracy (learned ({run}))" in page.words
    assert page.words.count(f"What 2 runs learned: {times[0]} and {times[1]}") == 2  # title and heading
    assert all(page.words.count(f"Run {run}") >= 2 for run in times)  # summary, contents and chapter
    text = (tmp_path / "both.html").read_text()
    for run, shown in zip(times, ("11", "222"), strict=True):
        row = text.split(f">learned ({run})</th>")[1].split("</tr>")[0]
        assert row.endswith(f">{shown}</td>")


def test_a_run_without_policy(plain: Path) -> None:
    page = page_of(plain)
    assert "It was trained without a learned policy (control plain)." in page.words
    assert "This run has no policy, so there is nothing to predict." in page.words
    assert {"run0-influence", "run0-harmful"} <= set(page.ids())
    assert page.words.count("Training image") == 0  # alternative texts alone
    assert sum((a.get("alt") or "").startswith("Training image row") for tag, a in page.tags if tag == "img") == 12


@pytest.mark.slow
def test_a_field_policy(tmp_path: Path) -> None:
    page = page_of(digits_run(tmp_path, "--model.policy=field", "--data.image_size=16"))
    assert "A field network draws a displacement" in page.words
    assert "whole policy" in page.words
    assert "There is no test accuracy yet" in page.words


def test_a_run_that_has_not_ended_says_how_to_go_on(seeds: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(seeds[0], tmp_path / "run"))
    (run / "summary.json").unlink()
    page = page_of(run, images=0)
    assert f"python train.py fit --config {run}/config.yaml --ckpt_path {run}/checkpoints/last.ckpt" in page.words
    assert "run0-ops" in page.ids()


@pytest.mark.slow
def test_a_run_that_trained_on_its_influence_images(tmp_path: Path) -> None:
    run = evaluated_run(tmp_path, "--data.influence_source=cross_fit")
    page = page_of(run)
    assert "With cross_fit the influence images were trained on in other epochs" in page.words
    assert "what helps on images that were never trained on" in page.words


def test_scores_of_all_images_are_taken_where_they_are(seeds: list[Path]) -> None:
    run = Path(shutil.copytree(seeds[0], seeds[0].parent / "scored"))
    (run / "attribution").mkdir()
    head = "index,source,label_name,predicted,suggested,influence"
    rows = [f"{index},row {index},3,3,3,{-index / 1000}" for index in range(1000)]
    rows[7] = "7,the culprit,3,5,5,0.5"
    (run / "attribution" / "attribution.csv").write_text("\n".join([head, *rows]))
    page = page_of(run)
    assert "0 % of the images are harmful" in page.words
    assert "Scored were all 1,000 training images" in page.words
    first = next(a for tag, a in page.tags if tag == "img" and (a.get("alt") or "").startswith("Training image"))
    assert first["alt"] == "Training image the culprit, labelled 3"
    assert "For 1 of 1,000 images a head that has not seen them" in page.words


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", "{", "summary.json is no summary of a run"),
        ("analysis/moments.json", "{", "run the analysis again"),
        ("attribution/attribution.csv", "index,source\n0,x", "is no table of an attribution"),
        ("attribution/attribution.csv", "index,source,label_name,predicted,suggested,influence\n0,x,1,1,1,0.1",
         "is of 1 training images, the run has 1000"),
    ],
)  # fmt: skip
def test_damaged_files_are_one_line(
    file: str, text: str, message: str, seeds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(seeds[0], tmp_path / "run"))
    (run / file).parent.mkdir(exist_ok=True)
    (run / file).write_text(text)
    (run / "report.html").unlink(missing_ok=True)
    with pytest.raises(SystemExit) as end:
        main(["report", str(run), "--images=0"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no run nowhere"),
        ([], "required"),
        (["nowhere", "--images=-1"], "images must be at least 0"),
        (["nowhere", "--studies=[nothing]"], "there is no result in nothing"),
        (["nowhere", "--out=."], "out: . is a folder"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_images_0_computes_nothing_and_says_so(seeds: list[Path], tmp_path: Path) -> None:
    main(["report", str(seeds[0]), "--images=0", f"--out={tmp_path / 'page.html'}"])
    page = Outline((tmp_path / "page.html").read_text())
    assert page.words.count("Left out by --images 0") == 3


@pytest.mark.slow
def test_what_comes_from_data_is_text(tmp_path: Path) -> None:
    run = odd_run(tmp_path)
    write_findings(run)
    study = tmp_path / "study"
    write_findings(study)
    page = page_of(run, f"--studies=[{study}]")
    text = (run / "report.html").read_text()
    assert EVIL not in text
    assert "<img src=x" not in text
    assert {"script"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    for name in NAMES:
        assert name in page.words
    assert sum(tag == "img" and a.get("class") == "plot" for tag, a in page.tags) == 8
    assert "Not measured yet" not in page.words
