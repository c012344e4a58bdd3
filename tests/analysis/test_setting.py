from dataclasses import replace
from pathlib import Path

import pytest

from analysis.exchange_rate.setting import Measurement, Setting, Training
from augnet import AugNet, save_policy


def setting(**fields: object) -> Setting:
    plain = Setting("data", 100, "flip_crop", 0, 0, Training(), Measurement())
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_the_key_is_that_of_equal_settings_alone() -> None:
    others = [
        setting(path="elsewhere"),
        setting(size=101),
        setting(policy="none"),
        setting(views=1),
        setting(seed=1),
        setting(training=Training(steps=1)),
        setting(training=Training(model_kwargs={"width": 9})),
        setting(measurement=Measurement(val_size=1)),
        setting(measurement=Measurement(corruptions=["jpeg"])),
    ]
    assert setting().key == setting().key
    assert len({setting().key, *(other.key for other in others)}) == 1 + len(others)


def test_the_key_stays_what_it_was() -> None:
    """A change throws away every cached run: raise the format instead, if that is meant."""
    assert setting().key == "e5bf9d006b04da29a9ab2461"


def test_the_key_follows_the_content_of_a_policy_file(tmp_path: Path) -> None:
    keys = []
    for name, initial in (("a", 0.1), ("b", 0.1), ("c", 0.2)):
        save_policy(AugNet.from_ops(["rotation"], initial=initial), tmp_path / name / "policy.json")
        keys.append(setting(policy=f"flip_crop+{tmp_path / name / 'policy.json'}").key)
    assert keys[0] == keys[1] != keys[2]


def test_runs_of_a_seed_and_size_share_their_draws_and_no_others_do() -> None:
    assert setting().run_seed == setting(policy="none").run_seed == setting(policy="cutout", views=2).run_seed
    seeds = [setting(size=size, seed=seed).run_seed for size in (100, 200, 300) for seed in range(5)]
    assert len(set(seeds)) == 15


def test_a_policy_is_baselines_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    save_policy(AugNet.from_ops(["rotation"]), file)
    both, alone = setting(policy=f"flip_crop+cutout+{file}"), setting(policy=str(file))
    assert (both.base, both.policy_file) == ("flip_crop+cutout", str(file))
    assert (alone.base, alone.policy_file) == ("none", str(file))
    assert setting(policy="none").policy_file is None
    with pytest.raises(ValueError, match="in the last place"):
        setting(policy=f"{file}+flip_crop")


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"policy": "flip_corp"}, ValueError, "did you mean flip_crop"),
        ({"policy": "nowhere.json"}, FileNotFoundError, "no file nowhere.json"),
        ({"policy": "none", "views": 2}, ValueError, "without a policy all views"),
        ({"policy": "mixup", "views": 2}, ValueError, "mixes labels"),
        ({"size": 0}, ValueError, "size must be at least 1"),
        ({"views": -1}, ValueError, "views must be at least 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(fields: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        setting(**fields)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        Training(steps=0)
    with pytest.raises(ValueError, match="lr > 0"):
        Training(lr=0)
