"""The page of the moments benchmark says what its JSON says."""

from benchmarks.moments import page


def content() -> dict[str, object]:
    quartiles = {"low": 900, "median": 29_899, "high": None}
    row = {
        "augmentation": "rotation",
        "samples": {"loss": quartiles, "image": {"median": 1}, "covariance": {"median": 123_456}},
        "samples_mean_loss": 5_678,
        "alignment": {"R": 0.0004, "A": 1.5},
        "loss": {
            "clean": 1.0, "expected": 2.0, "at_mean": 1.5, "second_order": 1.75, "first_order_variance_ratio": None
        },
    }  # fmt: skip
    influence = {
        "family": "blur", "strength": 0.25, "unexplained": {"mean_image": 0.5, "second_order": 0.25, "steps": None}
    }  # fmt: skip
    return {
        "settings": {"error": 0.01, "confidence": 0.95, "images": 20, "influence_images": 6},
        "versions": {"torch": "2.14.1"},
        "result": {"epochs": 20, "augmentations": [row], "influence": [influence]},
    }


def test_the_page_has_every_number() -> None:
    lines = page(content()).splitlines()
    assert "| rotation | 29,900 (900-none) | 5,680 | 1 | 123,000 | 4.0e-04 | 1.50 |" in lines
    assert "| rotation | 1.00 | 2.00 | 1.50 | 1.75 | - |" in lines
    assert "| blur | 0.25 | 0.50 | 0.25 | - |" in lines
    assert "1 % at 95 % confidence" in lines[0]
