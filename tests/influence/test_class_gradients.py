import pytest
from influence_cases import case, close

from influence import (
    class_frequencies,
    class_gradients,
    loss_gradient,
)


@pytest.mark.parametrize("soft", [False, True])
def test_class_gradients_weighted_by_frequency_are_the_gradient(soft: bool) -> None:
    layer = case(rows=50, classes=4, soft=soft)
    rows = layer.features, layer.logits, layer.targets
    frequencies = class_frequencies(layer.logits, layer.targets)
    assert float(frequencies.sum()) == pytest.approx(1, rel=1e-12)
    total = (class_gradients(*rows) * frequencies[:, None, None]).sum(dim=0)
    close(total, loss_gradient(*rows), 1e-12)


def test_class_gradient_is_that_of_the_rows_of_the_class() -> None:
    layer = case(rows=50, classes=4)
    labels = layer.targets.clamp(max=2)  # class 3 has no rows
    found = class_gradients(layer.features, layer.logits, labels)
    for c in range(3):
        chosen = labels == c
        close(found[c], loss_gradient(layer.features[chosen], layer.logits[chosen], labels[chosen]), 1e-12)
    assert not found[3].any()
