"""The numbers of a report: intervals, pairs of seeds, what a policy is said to be, results as tables."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from scipy import stats

from analysis.moments.policy_influence import class_solutions
from analysis.report import learned
from analysis.report.accuracy import ArmAccuracies, ArmName, Summary, gather, read_summary
from analysis.report.blocks import DASH, MINUS, Table, Text
from analysis.report.comparison import caveat, sentences
from analysis.report.drawing import COLORS
from analysis.report.op_influence import WHOLE, _means, magnitudes_alone, measure_ops
from analysis.report.result_blocks import result_blocks, tables
from analysis.report.result_layouts import named_tables
from analysis.results import write_result
from analysis.run_folder import OpenedRun
from analysis.statistics import over_seeds, wilson
from augnet import AugNet
from augnet.batch import Batch
from augnet.policies import ClassConditionalPolicy, MixturePolicy
from augnet.space import TransformSpace
from influence import LastLayerHessian, class_gradients

STYLE = (Path(__file__).parents[2] / "analysis" / "report" / "style.css").read_text()


@pytest.mark.parametrize(("right", "count"), [(0, 20), (9, 10), (393, 397), (397, 397)])
def test_the_interval_of_one_seed_is_where_the_score_test_does_not_reject(right: int, count: int) -> None:
    found = wilson(right / count, count)
    assert found.low is not None
    assert found.high is not None
    for bound in (found.low, found.high):
        if 0 < bound < 1:
            score = abs(right / count - bound) / math.sqrt(bound * (1 - bound) / count)
            assert score == pytest.approx(stats.norm.ppf(0.975), rel=1e-6)
        else:
            assert bound == pytest.approx(right / count, abs=1e-9)


def test_the_interval_over_seeds_is_that_of_students_t_test() -> None:
    values = [0.91, 0.95, 0.93, 0.97, 0.9]
    oracle = stats.ttest_1samp(values, 0.9).confidence_interval(0.95)
    assert over_seeds(values) == pytest.approx((np.mean(values), oracle.low, oracle.high))
    assert over_seeds([0.5]) == (0.5, None, None)


def _summary(seed: int, **accuracies: float) -> Summary:
    return Summary(seed, next(iter(accuracies)), accuracies, {})


def test_differences_are_paired_by_seed_also_with_a_control_that_was_a_run_of_its_own() -> None:
    runs = [_summary(0, learned=0.9), _summary(1, learned=0.8, plain=0.5), _summary(0, plain=0.7), _summary(2, plain=0)]
    arms = gather([(run, "") for run in runs])
    found = arms.difference(ArmName("learned"))
    assert found is not None
    oracle = stats.ttest_rel([0.9, 0.8], [0.7, 0.5]).confidence_interval()
    assert found[0] == pytest.approx((0.25, oracle.low, oracle.high))
    assert found[1] == 2
    assert arms.difference(ArmName("plain")) is None
    assert arms.own == (ArmName("learned"), ArmName("plain"))


def test_a_seed_counts_once_and_settings_are_kept_apart() -> None:
    same = _summary(0, learned=0.9, plain=0.5)
    with pytest.raises(ValueError, match="two runs have the arm learned with seed 0"):
        gather([(same, ""), (same, "")])
    arms = gather([(same, "a"), (_summary(0, learned=0.7, plain=0.6), "b")])
    differences = [arms.difference(ArmName("learned", setting)) for setting in ("a", "b")]
    assert [round(found[0].value, 6) for found in differences if found] == [0.4, 0.1]


def test_the_sentences_say_how_sure_they_are() -> None:
    one = gather([(_summary(0, learned=0.989924, plain=0.415617), "")])
    assert sentences(one, {"": 397})[:2] == [
        "Test accuracy (learned): 99.0 % on 397 test images.",
        "Learned minus plain (41.6 %): +57.4 points.",
    ]
    assert "This is one seed" in (caveat(one) or "")

    def over(*learned: float) -> ArmAccuracies:
        return gather([(_summary(seed, learned=one, plain=0.8), "") for seed, one in enumerate(learned)])

    assert "clearly above zero" in sentences(over(0.9, 0.91, 0.92, 0.9, 0.9), {"": 397})[1]
    assert "which includes zero" in sentences(over(0.9, 0.7, 0.92, 0.7), {"": 397})[1]
    assert "clearly below zero" in sentences(over(0.7, 0.71, 0.72), {"": 397})[1]
    assert caveat(over(0.9, 0.91, 0.92, 0.9, 0.9)) is None
    assert "3 seeds" in (caveat(over(0.7, 0.71, 0.72)) or "")


@pytest.mark.parametrize("text", ["{", "[]", '{"test_accuracy": {}}', '{"test_accuracy": {"learned": 99}}', "\xff"])
def test_a_damaged_summary_is_named(text: str, tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    (tmp_path / "summary.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"summary\.json is no summary of a run"):
        read_summary(tmp_path)


def test_a_policy_in_words() -> None:
    ranges = AugNet.from_ops({"rotation": 90.0, "translate_x": 0.2, "blur": 0.1})
    facts: dict[str, Any] = ranges.describe()
    facts["rotation"]["half_width"], facts["translate_x"]["half_width"] = 45.0, 0.05
    facts["blur"]["half_width"] = 0.001
    said = " ".join(learned.sentences(facts))
    assert "rotation up to ±45.0 degrees (50 % of its bound)" in said
    assert "translate x up to ±5.00 % of the shorter side (25 % of its bound)" in said
    assert "switched off (under 5 % of the bound) is blur." in said
    assert learned.learned_table(facts).rows[-1][:2] == ["blur", "0.00100"]  # one-sided: no sign
    facts["translate_x"].update(lowest=-0.01, highest=0.1)
    assert "translate x from -1.00 to 10.0 % of the shorter side" in " ".join(learned.sentences(facts))
    assert ["translate x", "-0.0100 to 0.100"] in [row[:2] for row in learned.learned_table(facts).rows]
    space = TransformSpace(["rotation", "brightness"])
    mixture = AugNet(space, MixturePolicy.over(space)).describe()
    assert "an even choice would be 33 %" in learned.sentences(mixture)[0]
    assert learned.class_table(facts, ["a", "b"]) is None
    by_class = AugNet(space, ClassConditionalPolicy(space, 2, 0.5))
    with torch.no_grad():
        by_class.policy.theta.copy_(torch.tensor([[-40.0, -40.0], [40.0, 0.0]]))
    of_classes = learned.class_table(by_class.describe(), ["a", "b"])
    assert of_classes is not None
    assert of_classes.columns == ["Class", "Rotation, degrees", "Brightness, fraction of the full range"]
    assert of_classes.rows == [["a", "±0.000", "±0.000"], ["b", "±90.0", "±0.150"]]
    assert "displacement 0 pixels" in learned.sentences(AugNet.from_fields(1, 8, 8).describe())[0]


def test_the_influence_of_ops_is_that_of_dense_matrices_and_autograd(opened: OpenedRun) -> None:
    """S_k from the dense Hessian and the gradients of autograd, influence as a directional derivative."""
    images, seed = 40, 3
    found = measure_ops(opened, images, seed)
    assert found.ops == ("rotation", "brightness", WHOLE)
    solutions, model = _dense_solutions(opened), opened.model
    generator = torch.Generator().manual_seed(seed)
    train = opened.data.splits.train
    order = torch.randperm(len(train), generator=generator)[:images].tolist()
    pixels, labels = train.__getitems__(order)
    net = opened.policy
    assert net is not None
    draws = net.sample(pixels, labels, generator)
    head = next(module for module in reversed(list(model.network.modules())) if isinstance(module, torch.nn.Linear))
    seen: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda _, args, output: seen.append(args[0]))

    def losses(batch: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        model(batch)
        rows = torch.cat([seen[-1], torch.ones(len(batch), 1)], dim=1).double()
        weights = torch.cat([head.weight, head.bias[:, None]], dim=1).double() + step
        return torch.nn.functional.cross_entropy(rows @ weights.T, labels, reduction="none")

    def influence(batch: torch.Tensor) -> torch.Tensor:
        slopes = []
        for solution in solutions:
            slope = torch.func.jvp(
                lambda e, s=solution: losses(batch, e * s), (torch.zeros(()).double(),), (torch.ones(()).double(),)
            )[1]
            slopes.append(-slope)
        return torch.stack(slopes, dim=1)

    for p, columns in enumerate(([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])):
        change = influence(net.space.apply(pixels, draws * torch.tensor(columns))) - influence(pixels)
        torch.testing.assert_close(found.mean[p].double(), change.mean(dim=0), rtol=2e-3, atol=2e-5)
        torch.testing.assert_close(found.error[p].double(), change.std(dim=0) / images**0.5, rtol=2e-3, atol=2e-5)
    handle.remove()
    assert found.of_class.sum() == 200
    assert found.converged


def _dense_solutions(run: OpenedRun) -> list[torch.Tensor]:
    """`(H + damping)^-1 grad L_k` with everything from autograd, in float64."""
    model = run.model
    head = next(module for module in reversed(list(model.network.modules())) if isinstance(module, torch.nn.Linear))
    seen: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda _, args, output: seen.append(args[0].detach()))
    weights = torch.cat([head.weight, head.bias[:, None]], dim=1).double().detach()

    def rows(images: torch.Tensor) -> torch.Tensor:
        model(images)
        return torch.cat([seen[-1], torch.ones(len(images), 1)], dim=1).double()

    train = rows(run.data.splits.train.everything()[0])
    count = weights.numel()
    p = (train @ weights.T).softmax(dim=1)
    curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    hessian = torch.einsum("nij,nk,nl->ikjl", curvature, train, train).reshape(count, count) / len(train)
    damping = run.model.learned_augmentation.settings.damping * hessian.trace() / count
    hessian += damping * torch.eye(count)
    images, labels = run.data.influence_set()
    held_out = rows(images)
    solutions = []
    for k in range(run.data.num_classes):
        own = labels == k
        free = weights.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(held_out[own] @ free.T, labels[own])
        (gradient,) = torch.autograd.grad(loss, free)
        solutions.append(torch.linalg.solve(hessian, gradient.flatten()).view_as(weights))
    handle.remove()
    return solutions


def test_an_op_alone_is_drawn_as_in_the_policy_with_all_others_left_out() -> None:
    space = TransformSpace(["rotation", "brightness", "contrast"])
    batch = Batch(torch.rand(50, 1, 8, 8), torch.eye(2)[torch.arange(50) % 2])
    for net in (AugNet(space, MixturePolicy.over(space)), AugNet.from_ops(list(space.names))):
        found = magnitudes_alone(net, batch, torch.Generator().manual_seed(0))
        assert set(found) == {*space.names, WHOLE}
        for p, op in enumerate(space.names):
            magnitudes, taken = found[op]
            others = [q for q in range(3) if q != p]
            assert bool((magnitudes[:, others] == 0).all())
            assert bool((magnitudes[:, p] != 0).eq(taken).all())
            assert taken.float().mean() > 0.9  # a mixture takes each of three ops and the identity a quarter of times
            assert magnitudes[:, p].abs().max() <= space.bounds[p]
    fields = magnitudes_alone(AugNet.from_fields(1, 8, 8), batch, torch.Generator().manual_seed(0))
    assert set(fields) == {WHOLE}


def test_a_mean_of_few_images_must_be_further_from_zero() -> None:
    """Each is held to the p-value of the t-test times the number of means."""
    generator = torch.Generator().manual_seed(0)
    rows = {f"op{count}": 3 + torch.randn(count, 2, generator=generator) for count in (2, 3, 5, 400)}
    rows["none"] = torch.full((30, 2), 0.0)
    found = _means(rows, torch.ones(2, dtype=torch.int64), True)
    expected = [
        [stats.ttest_1samp(values[:, k].numpy(), 0).pvalue * 10 <= 0.05 for k in range(2)] for values in rows.values()
    ]
    assert found.clear.tolist() == expected
    normal = found.mean.abs() > stats.norm.isf(0.0025) * found.error
    assert bool(normal[0].any())  # a normal distribution would have believed two images
    assert not bool(found.clear[0].any())
    assert bool(found.clear[3].all())


def test_accuracies_of_other_data_have_intervals_of_their_own() -> None:
    small, large = _summary(0, learned=0.9, plain=0.8), _summary(0, learned=0.9, plain=0.7)
    said = sentences(gather([(small, "digits"), (large, "photos")]), {"digits": 397, "photos": 10_000})
    assert "Test accuracy (learned (digits)): 90.0 % on 397 test images." in said
    assert "Test accuracy (learned (photos)): 90.0 % on 10,000 test images." in said


def test_results_become_tables_whatever_they_hold() -> None:
    result = {
        "share": 0.25,
        "by_policy": {"a": {"rate": 1.0, "fit": {"b": None}}, "b": {"rate": 2.0, "fit": {"b": 3.0}}},
        "rows": [{"size": 500, "value": 905.4}, {"size": 1000, "value": -2172.0}],
        "odd": {"text": "x", "list": [], "deeper": {"matrix": [[1, 2], [3, 4]]}},
        "empty": {},
        "none": None,
    }
    found = {one.caption: one for one in tables(result, "Study") if isinstance(one, Table)}
    assert found["Study"].rows == [["share", "0.25"], ["none", DASH]]
    assert found["Study: by policy"].rows == [["a", "1", DASH], ["b", "2", "3"]]
    assert found["Study: by policy"].columns == ["Name", "Rate", "Fit, b"]
    assert found["Study: rows"].rows == [["500", "905"], ["1,000", f"{MINUS}2,172"]]
    assert all(len(row) == len(one.columns) for one in found.values() for row in one.rows)


@pytest.mark.parametrize("result", [None, 3, "text", [], {}, [[1]], {"a": [{"b": [{"c": 1}]}, 2]}, [None, {"a": 1}]])
def test_no_result_breaks_the_page(result: Any) -> None:
    for one in tables(result, "Study"):
        assert not isinstance(one, Table) or all(len(row) == len(one.columns) for row in one.rows)


STUDIES = Path(__file__).parents[2] / "studies" / "results"


def test_analyses_show_the_tables_that_they_make_themselves() -> None:
    measured = {
        name: json.loads((STUDIES / f"{name}.json").read_text())["facts"] for name in ("class_effects", "exchange_rate")
    }
    shown = {name: named_tables(name, result) or [] for name, result in measured.items()}
    tables = {one.caption: one for blocks in shown.values() for one in blocks if isinstance(one, Table)}
    for one in tables.values():
        assert all(len(row) == len(one.columns) for row in one.rows)
        assert not any("-0" in cell or "-1" in cell or cell == "-" for row in one.rows for cell in row)
    worth = tables["Worth in extra real images, on validation images"]
    point = measured["exchange_rate"]["in_domain"]["rates"]["flip_crop"][-1]
    (row,) = [row for row in worth.rows if row[:2] == ["flip_crop", "4,000"]]
    assert row[3].startswith(f"+{point['value']:,.0f} (+")
    assert row[4] == f"{point['interpolated']:,.0f}".replace("-", MINUS)
    corrupted = tables["Accuracy in % under each corruption, 4,000 images"]
    by_arm = measured["exchange_rate"]["corruptions"]["gaussian_blur"]
    assert [row[2] for row in corrupted.rows] == [f"{100 * sizes['4000']:.1f}" for sizes in by_arm.values()]
    said = " ".join(one.words for blocks in shown.values() for one in blocks if isinstance(one, Text))
    assert "Validation images: the curve of none is no power law" in said
    assert "Chosen on the validation split" in said
    pairs = next(one for caption, one in tables.items() if caption.startswith("Confusions"))
    assert {pairs.columns[place] for place in pairs.words} == {"Pair", "Category"}


@pytest.mark.parametrize("name", ["class_effects", "exchange_rate", "landscape"])
@pytest.mark.parametrize("result", [None, 3, [], {}, {"in_domain": {"curves": {"none": 1}}}, {"flatness": []}])
def test_a_result_of_another_shape_is_shown_as_it_is(name: str, result: Any, tmp_path: Path) -> None:
    assert named_tables(name, result) is None
    write_result(tmp_path, name, {"a": result}, settings={}, seed=0)
    assert result_blocks(tmp_path, name)


def test_a_landscape_that_is_infinitely_flat_says_so() -> None:
    noise = {"spread": 1.5, "signal_to_noise": 0.25, "noise_scale": None}
    flatness = {"distance": None, "deviation": None, "reached": 1, "distances": [0.5, None]}
    result = {"train_loss": 0.1, "flatness": flatness, "gradient_noise": {"parameters": noise, "filter_units": noise}}
    blocks = named_tables("landscape", result)
    assert blocks is not None
    (table,) = [one for one in blocks if isinstance(one, Table)]
    rows = {row[0]: row[1] for row in table.rows}
    assert rows["flatness, in filter norms"] == rows["noise scale, images"] == "infinite"
    assert (rows["deviation over directions"], rows["directions that reach the threshold"]) == (DASH, "1 of 2")
    assert rows["gradient spread"] == "1.5"


def test_the_settings_of_a_measurement_are_put_in_words(tmp_path: Path) -> None:
    settings = {"seeds": 3, "sizes": [500, 1000], "training": {"steps": 5, "model_kwargs": {"width": 8}, "none": None}}
    write_result(tmp_path, "moments", {"a": 1}, settings={**settings, "empty": [], "arms": [{"b": 1}]}, seed=5)
    (*_, how) = result_blocks(tmp_path, "moments") or []
    assert isinstance(how, Text)
    expected = "Measured with seed 5; seeds 3; sizes 500, 1,000; training (steps 5, model kwargs, width 8); augfluence"
    assert how.words.startswith(expected)


def test_a_long_result_is_cut_and_says_so(tmp_path: Path) -> None:
    many = {f"table_{n}": {f"row_{k}": {"value": k, "twice": 2 * k} for k in range(100)} for n in range(20)}
    blocks = tables(many, "Study")
    assert isinstance(blocks[-1], Text)
    assert blocks[-1].words == "8 more tables are in the JSON file."
    assert isinstance(blocks[0], Table)
    assert blocks[0].folded
    assert "(the first 60 of 100 rows)" in blocks[0].caption
    assert result_blocks(tmp_path, "moments") is None
    write_result(tmp_path, "moments", {"a": 1}, settings={"s": 2}, seed=5)
    path = tmp_path / "analysis" / "moments.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "pictures": ["../../secret.png", 3, "gone.png"]}))
    found = result_blocks(tmp_path, "moments")
    assert found is not None
    assert [type(one) for one in found] == [Table, Text]  # neither a picture from elsewhere nor one that is not there
    path.write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(ValueError, match="run the analysis again"):
        result_blocks(tmp_path, "moments")


def _contrast(first: str, second: str) -> float:
    """Of WCAG 2."""

    def luminance(color: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_lines_stand_out_from_both_pages_and_numbers_from_their_cells() -> None:
    pages = [part.split("--page: ")[1].split(";")[0] for part in STYLE.split(":root {")[1:] if "--page" in part]
    assert len(pages) == 3  # light, dark, print
    for page in pages:
        assert min(_contrast(color, page) for color in COLORS) >= 3
    shades = colormaps["PuOr_r"](np.linspace(0.5 - 0.5 / 2.2, 0.5 + 0.5 / 2.2, 50))
    assert min(_contrast("#111111", tuple(shade[:3])) for shade in shades) >= 4.5  # type: ignore[arg-type]


def test_a_class_without_influence_images_is_left_alone() -> None:
    torch.manual_seed(0)
    features, logits = torch.randn(30, 4), torch.randn(30, 3)
    gradients = class_gradients(features, logits, torch.arange(30) % 2)  # none of class 2
    solutions = class_solutions(LastLayerHessian(features, logits, damping=0.1), gradients)
    assert bool((solutions[2].value == 0).all())
    assert all(solution.converged and bool(solution.value.isfinite().all()) for solution in solutions)
