"""The class-conditional policy: the pixels of a class depend on its own strength alone, and train.py takes the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_runs import digits_run

from analysis.class_effects import Recipe, conditional_policy, find_recipe
from augnet import AugNet, load_policy, save_policy
from studies.kinds.class_effects.run import check_strengths, strength_policy

OPS = {"rotation": 40.0, "translate_x": 0.2, "contrast": 1.0, "noise": 0.1}
STRENGTHS = [0.1, 0.5, 1.0]
# at full strength images of class 0 are taken for class 2, which is best at 0.1; the same in both seeds
CONFUSION = np.array([
    2 * [[[8, 1, 1], [0, 9, 1], [1, 0, 9]]],
    2 * [[[9, 0, 1], [0, 8, 2], [1, 0, 9]]],
    2 * [[[4, 1, 5], [0, 9, 1], [0, 0, 10]]],
])  # fmt: skip


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, 3, 12, 12, generator=generator), torch.arange(64) % 4


def augmented(augnet: AugNet[Any, Any], labels: torch.Tensor, seed: int = 1) -> torch.Tensor:
    images, _ = batch()
    result: torch.Tensor = augnet(images, labels, generator=torch.Generator().manual_seed(seed))[0]
    return result


def test_a_weaker_class_leaves_the_pixels_of_all_others_as_they_were(tmp_path: Path) -> None:
    _, labels = batch()
    save_policy(strength_policy(OPS, 1.0), tmp_path / "strong.json")
    save_policy(conditional_policy(OPS, [1.0, 0.2, 1.0, 1.0]), tmp_path / "conditional.json")
    before, after = (augmented(load_policy(tmp_path / f"{name}.json"), labels) for name in ("strong", "conditional"))
    weakened = labels == 1
    assert torch.equal(before[~weakened], after[~weakened])
    assert not torch.isclose(before[weakened], after[weakened]).flatten(1).all(dim=1).any()


def test_a_class_is_augmented_as_by_the_policy_of_its_strength() -> None:
    _, labels = batch()
    for strength in (0.05, 0.5, 1.0):
        swept = augmented(strength_policy(OPS, strength), labels)
        found = augmented(conditional_policy(OPS, [1.0, 1.0, strength, 1.0]), labels)
        torch.testing.assert_close(found[labels == 2], swept[labels == 2], rtol=0, atol=1e-6)


def test_strengths_are_fractions_of_the_bounds() -> None:
    facts = conditional_policy(OPS, [1.0, 0.25]).describe()
    assert facts["rotation"]["half_widths"] == pytest.approx([40.0, 10.0])
    assert facts["noise"]["half_widths"] == pytest.approx([0.1, 0.025])


def test_classes_that_absorb_are_weakened_and_not_those_that_lose() -> None:
    recipe = find_recipe(CONFUSION, STRENGTHS, 2)
    assert recipe == Recipe(affected={0: 0.5}, absorbing={2: 0.5, 1: 0.5}, strengths=[1.0, 0.5, 0.5])
    assert find_recipe(CONFUSION, STRENGTHS, 1).absorbing == {2: 0.5}


def test_a_class_may_get_the_strength_at_which_it_absorbs_least() -> None:
    assert find_recipe(CONFUSION, STRENGTHS, 2, "fewest").absorbing == {2: 0.1, 1: 0.5}


@pytest.mark.slow
def test_train_takes_the_file_as_it_is(tmp_path: Path) -> None:
    strengths = [0.2 if k == 3 else 1.0 for k in range(10)]
    save_policy(conditional_policy({"rotation": 45.0}, strengths), tmp_path / "policy.json")
    folder = digits_run(tmp_path, f"--model.policy_file={tmp_path / 'policy.json'}", "--trainer.limit_train_batches=2")
    kept = load_policy(folder / "policy.json").describe()
    assert kept["rotation"]["half_widths"] == pytest.approx([9.0 if k == 3 else 45.0 for k in range(10)])


def test_strengths_and_ops_that_make_no_sense_are_refused() -> None:
    for strengths in ([], [1.0], [0.0, 1.0], [1.0, 0.5], [0.5, 0.5], [0.5, 1.1]):
        with pytest.raises(ValueError, match="increasing fractions"):
            check_strengths(strengths)
    with pytest.raises(ValueError, match="leave mixup and cutmix out"):
        strength_policy(["mixup"], 0.5)
    with pytest.raises(ValueError, match="classes must be at least 1"):
        find_recipe(CONFUSION, STRENGTHS, 0)
