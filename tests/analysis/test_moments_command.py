"""`python -m analysis moments` on a finished run of digits: numbers, pictures, and what is said of mistakes."""

import shutil
from pathlib import Path

import matplotlib.image
import pytest
import torch
import yaml

from analysis.__main__ import main
from analysis.moments.augmentations import Budget, Example, augmentations_of, common_augmentations, ranges
from analysis.moments.influence_estimates import ESTIMATES, FAMILIES, STRENGTHS
from analysis.moments.measurement import measure, summarize
from analysis.moments.sample_size import TargetPrecision
from analysis.results import read_result
from analysis.run_folder import open_run

FEW = ["--augmentations=[horizontal_flip, rotation, mixup, learned, training]"]


@pytest.mark.slow
def test_the_command_end_to_end(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["moments", str(finished), "--images=3", "--views=64", "--influence_images=1", "--device=cpu", *FEW])
    content = read_result(finished, "moments")
    assert content is not None
    assert content["settings"] == {
        "error": 0.01, "confidence": 0.95, "images": 3, "influence_images": 1, "views": 64,
    }  # fmt: skip
    rows = {row["augmentation"]: row for row in content["result"]["augmentations"]}
    assert list(rows) == ["horizontal_flip", "rotation", "mixup", "learned", "training"]
    assert [row["rule"] for row in rows.values()][:2] == ["enumeration", "midpoint"]
    assert rows["training"]["rule"] == "random"
    for row in rows.values():
        counts = row["samples"]["loss"]
        assert 1 <= counts["low"] <= counts["median"] <= counts["high"]
        assert row["samples"]["chebyshev"]["median"] > counts["median"]
        assert 0 <= row["alignment"]["R"] <= 1
    assert rows["horizontal_flip"]["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert content["result"]["epochs"] == 3
    influence = content["result"]["influence"]
    assert [(row["family"], row["strength"]) for row in influence] == [(f, s) for f in FAMILIES for s in STRENGTHS]
    for row in influence:
        assert set(row["unexplained"]) == set(ESTIMATES)
        assert all(share is None or share >= 0 for share in row["unexplained"].values())
    blurred = [row["unexplained"]["mean_image"] for row in influence if row["family"] == "blur"]
    assert blurred[0] < 0.5  # a slight blur is nearly its mean
    assert content["pictures"] == ["moments_samples.png", "moments_images.png", "moments_influence.png"]
    for picture in content["pictures"]:
        assert matplotlib.image.imread(finished / "analysis" / picture).std() > 0.02
    printed = capsys.readouterr().out
    assert "horizontal_flip" in printed
    assert "moments.json" in printed


@pytest.mark.slow
def test_a_run_that_says_nothing_of_its_trainer(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "trainer": None}))
    main(["moments", str(run), "--images=2", "--influence_images=0", "--augmentations=[horizontal_flip]"])
    content = read_result(run, "moments")
    assert content is not None
    assert content["result"]["epochs"] is None


def test_the_numbers_of_a_flip_are_those_of_its_two_views(finished: Path) -> None:
    run = open_run(finished, device="cpu")
    images, labels = run.data.splits.train.__getitems__([0, 1])
    example = Example(images, labels, torch.nn.functional.one_hot(labels, 10).float())
    found = measure(run.model, augmentations_of(run)["horizontal_flip"], example, Budget(), TargetPrecision())
    both = torch.cat([images[:1], images[:1].flip(-1)])
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(run.model(both), labels[[0, 0]], reduction="none").double()
    assert found.clean == pytest.approx(float(losses[0]), rel=1e-5)
    assert found.loss.mean == pytest.approx(float(losses.mean()), rel=1e-5)
    assert found.loss.variance == pytest.approx(float((losses[0] - losses[1]).square() / 4), rel=1e-4)
    row = summarize("horizontal_flip", [found, found], TargetPrecision())
    assert found.samples["loss"] is not None
    assert row["samples_mean_loss"] == pytest.approx(found.samples["loss"] / 2, abs=1)  # two independent images


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(finished: Path) -> None:
    results = []
    for seed in (0, 0, 1):
        arguments = [f"--seed={seed}", "--images=2", "--views=32", "--influence_images=0", "--device=cpu"]
        arguments += ["--augmentations=[rotation, training]"]
        main(["moments", str(finished), *arguments])
        content = read_result(finished, "moments")
        assert content is not None
        assert content["result"]["influence"] == []
        results.append(content["result"]["augmentations"])
    assert results[0] == results[1] != results[2]


def test_all_common_augmentations_change_an_image_and_keep_its_range() -> None:
    for channels in (1, 3):
        images = torch.rand(2, channels, 16, 16)
        example = Example(images, torch.tensor([0, 1]), torch.eye(2))
        for name, augmentation in common_augmentations(channels).items():
            views = augmentation(example, Budget(16))
            assert float(views.moments.trace) > 0, name
            assert bool(((views.images >= 0) & (views.images <= 1)).all()), name
    assert {"color_jitter", "trivial_augment"} <= set(common_augmentations(3))
    assert "trivial_augment" not in common_augmentations(2)


def test_strength_scales_the_bounds() -> None:
    example = Example(0.3 + 0.4 * torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), torch.eye(2))
    traces = [float(ranges({"brightness": 0.2}, s)(example, Budget(400)).moments.trace) for s in (1.0, 0.5)]
    assert traces[0] / traces[1] == pytest.approx(4, rel=1e-3)


@pytest.mark.slow
def test_former_names_of_augmentations_are_read(finished: Path) -> None:
    arguments = ["--images=2", "--views=16", "--influence_images=0", "--device=cpu"]
    with pytest.warns(DeprecationWarning, match="crop_and_colour is crop_and_color now"):
        main(["moments", str(finished), *arguments, "--augmentations=[horizontal_flip, crop_and_colour]"])
    content = read_result(finished, "moments")
    assert content is not None
    rows = [row["augmentation"] for row in content["result"]["augmentations"]]
    assert rows == ["horizontal_flip", "crop_and_color"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--augmentations=[rotations]"], "unknown rotations; this run knows"),
        (["--images=1"], "images and views must be at least 2"),
        (["--error=0"], "error must be positive"),
        (["--confidence=1"], "confidence in (0, 1)"),
        (["--data_path=elsewhere"], "has no path"),
    ],
)
def test_mistakes_are_one_line(
    finished: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["moments", str(finished), *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
