"""The class-conditional policy: the pixels of a class depend on its own strength alone, and train.py takes the file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import digits_run

from analysis.class_effects.policies import check_strengths, conditional_policy, write_conditional, write_strength
from analysis.class_effects.study import Recipe, find_recipe, write_recipe
from augnet import AugNet, load_policy, save_policy

OPS = {"rotation": 40.0, "translate_x": 0.2, "contrast": 1.0, "noise": 0.1}


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, 3, 12, 12, generator=generator), torch.arange(64) % 4


def augmented(augnet: AugNet[Any, Any], labels: torch.Tensor, seed: int = 1) -> torch.Tensor:
    images, _ = batch()
    result: torch.Tensor = augnet(images, labels, generator=torch.Generator().manual_seed(seed))[0]
    return result


def test_a_weaker_class_leaves_the_pixels_of_all_others_as_they_were(tmp_path: Path) -> None:
    _, labels = batch()
    strong = load_policy(write_strength(OPS, 1.0, tmp_path))
    save_policy(conditional_policy(OPS, [1.0, 0.2, 1.0, 1.0]), tmp_path / "conditional.json")
    before, after = augmented(strong, labels), augmented(load_policy(tmp_path / "conditional.json"), labels)
    weakened = labels == 1
    assert torch.equal(before[~weakened], after[~weakened])
    assert not torch.isclose(before[weakened], after[weakened]).flatten(1).all(dim=1).any()


@pytest.mark.parametrize("strength", [0.05, 0.5, 1.0])
def test_a_class_is_augmented_as_by_the_sweep_at_its_strength(strength: float, tmp_path: Path) -> None:
    _, labels = batch()
    swept = augmented(load_policy(write_strength(OPS, strength, tmp_path)), labels)
    found = augmented(conditional_policy(OPS, [1.0, 1.0, strength, 1.0]), labels)
    torch.testing.assert_close(found[labels == 2], swept[labels == 2], rtol=0, atol=1e-6)


def test_a_file_of_a_sweep_is_named_after_its_content(tmp_path: Path) -> None:
    """What differs in anything has a file of its own: strengths that read alike, bounds, the order of ops, classes."""
    bounds = dict(OPS)
    files = [
        write_strength(bounds, 0.5, tmp_path),
        write_strength(bounds, 0.50000004, tmp_path),
        write_strength({**bounds, "rotation": 41.0}, 0.5, tmp_path),
        write_strength({"rotation": 40.0}, 0.5, tmp_path),
        write_conditional(bounds, [0.5, 1.0], tmp_path),
        write_conditional(bounds, [1.0, 0.5], tmp_path),
        write_conditional(bounds, [1.0, 0.5, 1.0], tmp_path),
    ]
    assert len(set(files)) == len(files)
    kept = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert write_strength(bounds, 0.5, tmp_path) == files[0]
    assert write_conditional(bounds, [1.0, 0.5], tmp_path) == files[5]
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == kept
    assert load_policy(files[5]).describe()["rotation"]["half_widths"] == pytest.approx([40.0, 20.0])


def test_strengths_are_fractions_of_the_bounds() -> None:
    facts = conditional_policy(OPS, [1.0, 0.25]).describe()
    assert facts["rotation"]["half_widths"] == pytest.approx([40.0, 10.0])
    assert facts["noise"]["half_widths"] == pytest.approx([0.1, 0.025])


def result(confusion: list[list[int]]) -> dict[str, Any]:
    return {"validation": confusion}


def runs() -> dict[tuple[float, int], dict[str, Any]]:
    """At full strength images of class 0 are taken for class 2, which is best at 0.1."""
    weak = [[8, 1, 1], [0, 9, 1], [1, 0, 9]]
    middle = [[9, 0, 1], [0, 8, 2], [1, 0, 9]]
    strong = [[4, 1, 5], [0, 9, 1], [0, 0, 10]]
    matrices = {0.1: weak, 0.5: middle, 1.0: strong}
    return {(strength, seed): result(matrix) for strength, matrix in matrices.items() for seed in range(2)}


def test_classes_that_absorb_are_weakened_and_not_those_that_lose() -> None:
    recipe = find_recipe(runs(), [0.1, 0.5, 1.0], 2)
    assert recipe == Recipe(affected={0: 0.5}, absorbing={2: 0.5, 1: 0.5}, strengths=[1.0, 0.5, 0.5])
    assert find_recipe(runs(), [0.1, 0.5, 1.0], 1).absorbing == {2: 0.5}


def test_a_class_may_get_the_strength_at_which_it_absorbs_least() -> None:
    assert find_recipe(runs(), [0.1, 0.5, 1.0], 2, "fewest").absorbing == {2: 0.1, 1: 0.5}


def test_without_absorbing_classes_there_is_no_policy_and_no_old_one_is_left(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    assert write_recipe(find_recipe(runs(), [0.1, 0.5, 1.0], 1), OPS, file) == file
    assert load_policy(file).describe()["rotation"]["half_widths"] == pytest.approx([40, 40, 20])
    assert write_recipe(Recipe({}, {}, [1.0] * 3), OPS, file) is None
    assert list(tmp_path.iterdir()) == []


def test_train_takes_the_file_as_it_is(tmp_path: Path) -> None:
    file = write_recipe(
        Recipe({}, {3: 0.2}, [0.2 if k == 3 else 1.0 for k in range(10)]), {"rotation": 45.0}, tmp_path / "policy.json"
    )
    folder = digits_run(tmp_path, f"--model.policy_file={file}", "--trainer.limit_train_batches=2")
    kept = load_policy(folder / "policy.json").describe()
    assert kept["rotation"]["half_widths"] == pytest.approx([9.0 if k == 3 else 45.0 for k in range(10)])


def test_strengths_and_ops_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for strengths in ([], [1.0], [0.0, 1.0], [1.0, 0.5], [0.5, 0.5], [0.5, 1.1]):
        with pytest.raises(ValueError, match="increasing fractions"):
            check_strengths(strengths)
    with pytest.raises(ValueError, match="leave mixup and cutmix out"):
        write_strength(["mixup"], 0.5, tmp_path)
    with pytest.raises(ValueError, match="classes must be at least 1"):
        find_recipe(runs(), [0.1, 0.5, 1.0], 0)
