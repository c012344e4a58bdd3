from typing import Any

import pytest
import torch
import torch.nn.functional as F
from influence_cases import CASES, Case, case, close
from torch import Tensor

from influence import LastLayerHessian, append_bias, loss_gradient, residual


@pytest.fixture(params=list(CASES))
def layer(request: pytest.FixtureRequest) -> Case:
    return case(**CASES[request.param])


def random_matrix(layer: Case, seed: int = 1) -> Tensor:
    return torch.randn(layer.head.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gradient_is_that_of_autograd(layer: Case) -> None:
    expected = torch.func.grad(layer.loss)(layer.head) - layer.head * layer.decay
    close(loss_gradient(layer.features, layer.logits, layer.targets, layer.weights), expected)


def test_product_is_that_of_double_backward(layer: Case) -> None:
    matrix = random_matrix(layer)
    _, expected = torch.autograd.functional.hvp(layer.loss, layer.head, matrix)
    close(layer.hessian() @ matrix, expected)


def test_dense_is_the_functional_hessian(layer: Case) -> None:
    unknowns = layer.head.numel()
    expected = torch.func.hessian(layer.loss)(layer.head).reshape(unknowns, unknowns)
    close(layer.hessian().dense(), expected)


def test_product_is_that_of_curvlinops() -> None:
    operators = pytest.importorskip("curvlinops", reason="the oracle curvlinops is not installed")
    layer = case()
    linear = torch.nn.Linear(5, 3, bias=False).double()
    linear.weight.data = layer.head.clone()
    oracle = operators.HessianLinearOperator(
        linear,
        torch.nn.CrossEntropyLoss(),
        [linear.weight],
        [(append_bias(layer.features), layer.targets)],
        check_deterministic=False,
    )
    matrix = random_matrix(layer)
    close(layer.hessian() @ matrix, (oracle @ matrix.flatten()).reshape(3, 5))


@pytest.mark.parametrize("options", [{"damping": 0.3}, {"damping": 0.3, "damping_mode": "absolute"}, {}])
def test_mean_eigenvalue_and_damping_are_those_of_the_matrix(layer: Case, options: dict[str, Any]) -> None:
    hessian, bare = layer.hessian(**options), layer.hessian(weight_decay=0.0).dense()
    mean = float(bare.trace()) / len(bare)
    factor = 1.0 if options.get("damping_mode") == "absolute" else mean
    assert hessian.mean_eigenvalue == pytest.approx(mean, rel=1e-12)
    assert hessian.damping == pytest.approx(options.get("damping", 0.0) * factor, rel=1e-12)
    added = hessian.dense() - bare
    close(added, torch.diag((layer.decay + hessian.damping).repeat(len(layer.head))) + 0 * bare, 1e-9)


def test_decay_as_a_number_spares_the_bias() -> None:
    layer = case()
    expected = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.0], dtype=torch.float64)
    close(layer.hessian(weight_decay=0.1).diagonal, expected)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_semidefinite_of_generic_rank_with_the_shift_as_null_space(classes: int) -> None:
    layer = case(rows=60, classes=classes)
    hessian = layer.hessian()
    values = torch.linalg.eigvalsh(hessian.dense())
    assert values.min() > -1e-14
    assert int((values > 1e-10 * values.max()).sum()) == (classes - 1) * 5
    shift = random_matrix(layer)[:1].expand(classes, 5)
    assert (hessian @ shift).abs().max() < 1e-15
    assert (hessian @ random_matrix(layer)).sum(dim=0).abs().max() < 1e-14


def test_only_ratios_of_weights_count_and_they_act_like_repetition() -> None:
    layer = case(rows=6)
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0, 3.0, 0.0])
    repeated = torch.tensor([0, 0, 2, 3, 4, 4, 4])
    features, logits, targets = layer.features[repeated], layer.logits[repeated], layer.targets[repeated]
    for scale in (1.0, 7.0):
        close(
            loss_gradient(layer.features, layer.logits, layer.targets, scale * weights),
            loss_gradient(features, logits, targets),
        )
        close(
            layer.hessian(sample_weights=scale * weights).dense(),
            LastLayerHessian(features, logits, damping=0.0).dense(),
        )


def test_order_of_rows_and_a_common_class_vector_change_nothing() -> None:
    layer = case(rows=30)
    matrix = random_matrix(layer)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    shifted = append_bias(layer.features) @ (layer.head + random_matrix(layer)[:1]).T
    for logits, features in ((layer.logits[order], layer.features[order]), (shifted, layer.features)):
        other = LastLayerHessian(features, logits, damping=0.1)
        close(other @ matrix, layer.hessian(damping=0.1) @ matrix)


def test_autocast_around_changes_no_bit() -> None:
    layer = case(rows=64, features=16)
    features, logits, matrix = layer.features.float(), layer.logits.float(), random_matrix(layer).float()

    def compute() -> tuple[Tensor, ...]:
        hessian = LastLayerHessian(features, logits)
        gradient = loss_gradient(features, logits, layer.targets)
        return hessian @ matrix, hessian.dense(), gradient, residual(logits, layer.targets)

    expected = compute()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (features @ features.T).dtype == torch.bfloat16  # autocast is on
        for found, wanted in zip(compute(), expected, strict=True):
            assert found.dtype == torch.float32
            assert torch.equal(found, wanted)


def test_half_precision_rows_are_upcast() -> None:
    layer = case()
    features, logits = layer.features.bfloat16(), layer.logits.bfloat16()
    hessian = LastLayerHessian(features, logits)
    expected = LastLayerHessian(features.float(), logits.float())
    assert torch.equal(hessian.dense(), expected.dense())
    assert hessian.dense().dtype == torch.float32


def test_fitted_rows_keep_their_digits_in_float32() -> None:
    """With a margin of 25, 1 - p is 1e-11: float32 differences would round all of the Hessian away."""
    layer = case()
    labels = layer.targets
    logits = 25 * F.one_hot(labels, 3) + layer.logits
    exact = LastLayerHessian(layer.features, logits, damping=0.0)
    single = LastLayerHessian(layer.features.float(), logits.float(), damping=0.0)
    assert 0 < exact.mean_eigenvalue < 1e-8
    matrix = random_matrix(layer)
    close((single @ matrix.float()).double(), exact @ matrix, 1e-4)
    close(single.dense().double(), exact.dense(), 1e-4)
    assert single.mean_eigenvalue == pytest.approx(exact.mean_eigenvalue, rel=1e-4)


def test_residual_is_the_derivative_and_carries_gradient() -> None:
    layer = case(soft=True)
    logits = layer.logits.requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, layer.targets, reduction="sum"), logits)
    close(residual(logits, layer.targets), expected)
    assert torch.autograd.gradcheck(lambda z: residual(z, layer.targets), (logits,))


def test_gradient_and_hessian_are_detached() -> None:
    layer = case()
    features, logits = layer.features.requires_grad_(), layer.logits.requires_grad_()
    assert not loss_gradient(features, logits, layer.targets).requires_grad
    assert not (LastLayerHessian(features, logits) @ layer.head.requires_grad_()).requires_grad


def test_rows_of_probabilities_are_normalized() -> None:
    layer = case(soft=True)
    close(residual(layer.logits, layer.targets * 1.0005), residual(layer.logits, layer.targets), 1e-12)
