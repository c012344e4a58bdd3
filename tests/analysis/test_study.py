"""Studies from made-up results, and the whole command on images that train in seconds."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from analysis_images import write_images
from PIL import Image

from analysis.__main__ import main
from analysis.exchange_rate.figures import plot_curves, plot_rates
from analysis.exchange_rate.power_law import PowerLaw
from analysis.exchange_rate.setting import Measurement, Training
from analysis.exchange_rate.study import Arm, Study
from analysis.exchange_rate.tables import poor_fits, rate_text
from analysis.result_files import read_result

LAWS = {"none": PowerLaw(-2.5, 0.3, 0.8), "cutout": PowerLaw(-2.0, 0.3, 0.8), "flip_crop": PowerLaw(-2.0, 0.3, 0.9)}


def study(**fields: object) -> Study:
    given: dict[str, object] = {
        "path": "data",
        "arms": [Arm("cutout"), Arm("flip_crop"), Arm("flip_crop", 2)],
        "sizes": [500, 1000, 2000, 4000],
        "reference_sizes": [500, 1000, 2000, 4000, 8000, 16000],
        "seeds": 3,
        "training": Training(),
        "measurement": Measurement(corruptions=["jpeg", "contrast"]),
    }
    return Study(**{**given, **fields})  # type: ignore[arg-type]


def made_up(asked: Study) -> dict:
    """Results that follow `LAWS`; frozen views are worth as much as no augmentation."""
    results = {}
    for (arm, size, seed), setting in asked.settings().items():
        law = LAWS["none" if arm.views else arm.policy.partition("+")[0]]
        accuracy = float(law.accuracy(size)) + 0.002 * np.random.default_rng([size, seed]).standard_normal()
        corrupted = {"jpeg": accuracy - 0.1, "contrast": accuracy - 0.2}
        results[arm, size, seed] = {"accuracy": accuracy, "corrupted": corrupted}
        assert (setting.size, setting.policy, setting.views) == (size, arm.policy, arm.views)
    return results


def test_a_study_has_every_run_once() -> None:
    settings = study().settings()
    assert len(settings) == len({setting.key for setting in settings.values()}) == 3 * (6 + 3 * 4)
    seeds = [seed for _, _, seed in settings]
    assert seeds == sorted(seeds)  # one seed is whole before the next begins


def test_a_reference_among_the_policies_is_trained_once() -> None:
    with_none = study(arms=[Arm("none"), Arm("cutout")])
    assert len(with_none.settings()) == 3 * (6 + 4)


def test_a_summary_says_what_the_policies_are_worth() -> None:
    asked = study()
    summary = asked.summarise(made_up(asked), draws=50)
    rates = summary["in_domain"]["rates"]
    for point in rates["cutout"]:
        assert point["value"] == pytest.approx(point["size"] * ((2.5 / 2) ** (1 / 0.3) - 1), rel=0.15)
        assert point["interpolated"] == pytest.approx(point["value"], rel=0.2)
    for point in rates["flip_crop, 2 frozen views"]:
        assert abs(point["value"]) < 0.1 * point["size"]
    last = rates["flip_crop"][-1]
    assert last["extrapolated"]
    assert last["infinite"] == math.isinf(LAWS["none"].size(float(LAWS["flip_crop"].accuracy(4000))))
    assert summary["in_domain"]["curves"]["none"]["lack_of_fit"] > 0.01
    inside, outside = (summary[measure]["curves"]["cutout"]["accuracies"] for measure in ("in_domain", "corrupted"))
    assert np.allclose(np.array(inside) - 0.15, outside)
    jpeg = summary["corruptions"]["jpeg"]
    assert list(jpeg["cutout"]) == ["500", "1000", "2000", "4000"]
    assert jpeg["cutout"]["500"] == pytest.approx(np.mean(inside[0]) - 0.1)
    assert set(jpeg) == {"none", "cutout", "flip_crop", "flip_crop, 2 frozen views"}
    json.dumps(summary, allow_nan=False)


def test_a_worth_beyond_all_bounds_can_be_written_and_drawn() -> None:
    LAWS["none"], kept = PowerLaw(-2.5, 0.3, 0.55), LAWS["none"]
    try:
        asked = study(arms=[Arm("flip_crop")])
        summary = asked.summarise(made_up(asked), draws=50)
    finally:
        LAWS["none"] = kept
    point = summary["in_domain"]["rates"]["flip_crop"][-1]
    assert (point["infinite"], point["value"], point["extrapolated"]) == (True, None, True)
    assert rate_text(point).startswith("infinite (")
    json.dumps(summary, allow_nan=False)
    for figure in (plot_curves(summary), plot_rates(summary)):
        assert len(figure.axes) == 2
        figure.savefig(Path("/dev/null"), format="png")


@pytest.mark.parametrize("measures", [("in_domain",), ("in_domain", "corrupted")])
def test_long_names_of_policies_fit_into_the_picture(measures: tuple[str, ...]) -> None:
    asked = study(arms=[Arm("flip_crop+trivial_augment"), Arm("flip_crop+trivial_augment", 4)])
    summary = asked.summarise(made_up(asked), draws=20)
    figure = plot_curves({name: summary[name] for name in measures})
    figure.savefig(Path("/dev/null"), format="png")
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1


def test_the_worth_of_a_policy_is_put_in_words() -> None:
    point = {"infinite": False, "value": 1234.4, "low": -10.0, "high": 2000.0, "low_infinite": False}
    point["high_infinite"] = False
    point["extrapolated"] = False
    assert rate_text(point) == "+1,234 (-10 to +2,000)"
    assert rate_text({**point, "high": None, "high_infinite": True}) == "+1,234 (-10 to infinite)"
    assert rate_text({**point, "low": None, "high": None}) == "+1,234"
    assert rate_text({**point, "value": -0.4, "low": -1.2, "high": 0.3}) == "+0 (-1 to +0)"
    assert rate_text({**point, "extrapolated": True}) == "+1,234 (-10 to +2,000) *"
    nothing = {"value": None, "low": None, "high": None, "extrapolated": False}
    both = {**nothing, "infinite": True, "low_infinite": True, "high_infinite": True}
    assert rate_text(both) == "infinite (infinite to infinite)"


def test_a_curve_that_is_no_power_law_is_named() -> None:
    curves = {"none": {"residual": 0.02, "lack_of_fit": 0.001}, "cutout": {"residual": 0.001, "lack_of_fit": None}}
    assert [note.split(" is ")[0] for note in poor_fits({"curves": curves})] == ["the curve of none"]


def test_studies_without_a_meaning_are_refused() -> None:
    for fields, words in (
        ({"sizes": [500, 1000]}, "sizes: a power law needs at least three"),
        ({"reference_sizes": [500, 500, 1000]}, "reference_sizes: a power law needs at least three"),
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"arms": []}, "give at least one"),
    ):
        with pytest.raises(ValueError, match=words):
            study(**fields)


def test_the_command_trains_writes_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    arguments = [
        "exchange_rate",
        str(write_images(tmp_path / "images")),
        f"--folder={folder}",
        "--policies=[cutout]",
        "--sizes=[10,20,30]",
        "--reference_sizes=[10,20,40]",
        "--frozen_views=[1]",
        "--seeds=2",
        "--training.steps=4",
        "--training.batch_size=8",
        "--training.model_kwargs={width: 2}",
        "--training.precision=32-true",
        "--training.accelerator=cpu",
        "--measurement.val_size=20",
        "--measurement.influence_size=4",
        "--measurement.corruptions=[contrast]",
        "--resamples=20",
        "--progress=false",
    ]
    main(arguments)
    result = read_result(folder, "exchange_rate")
    assert result is not None
    assert set(result["result"]["in_domain"]["rates"]) == {"cutout", "cutout, 1 frozen view"}
    assert [point["size"] for point in result["result"]["corrupted"]["rates"]["cutout"]] == [10, 20, 30]
    for picture in result["pictures"]:
        assert (folder / "analysis" / picture).stat().st_size > 10_000
    assert "Worth in extra real images" in capsys.readouterr().out

    runs = sorted((folder / "runs").glob("*.json"))
    assert len(runs) == 2 * (3 + 3 + 3)
    runs[0].unlink()
    before = {run: run.stat().st_mtime_ns for run in runs[1:]}
    main(arguments)
    assert runs[0].is_file()
    assert {run: run.stat().st_mtime_ns for run in runs[1:]} == before
    assert read_result(folder, "exchange_rate") == result  # the missing run was repeated to the bit


def test_a_mistake_is_told_in_one_line_before_anything_is_trained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images")
    arguments = ["exchange_rate", str(images), f"--folder={tmp_path / 'study'}", "--sizes=[10,20,30]"]
    arguments += [
        "--reference_sizes=[10,20,40]",
        "--measurement.val_size=10",
        "--measurement.influence_size=4",
        "--progress=false",
    ]
    for argument, words in (
        ("--policies=[flip_corp]", "did you mean flip_crop"),
        ("--measurement.corruptions=[fog]", "unknown 'fog'"),
        ("--sizes=[1,2]", "at least three sizes"),
        ("--workers=0", "workers and threads must be at least 1"),
        ("--confidence=95", "confidence in (0, 1)"),
        ("--resamples=0", "resamples >= 1"),
        ("--stale_after=0", "stale_after > 0"),
        ("--reference_sizes=[10,20,3000]", "train_size=3000"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, argument])
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err
        assert not list((tmp_path / "study").glob("runs/*.json"))


def test_grey_images_cannot_lose_their_colour(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for file in write_images(tmp_path / "images").rglob("*.png"):
        Image.open(file).convert("L").save(file)
    arguments = ["exchange_rate", str(tmp_path / "images"), f"--folder={tmp_path / 'study'}", "--sizes=[10,20,30]"]
    arguments += ["--reference_sizes=[10,20,40]", "--measurement.val_size=10", "--measurement.influence_size=4"]
    with pytest.raises(SystemExit):
        main([*arguments, "--measurement.corruptions=[saturation]", "--progress=false"])
    assert "saturation needs RGB images" in capsys.readouterr().err
    assert not list((tmp_path / "study").glob("runs/*.json"))
