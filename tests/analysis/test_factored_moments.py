"""The factored covariance against the dense matrix that it stands for."""

import pytest
import torch
from torch import Tensor

from analysis.moments.factored import Moments, moments_of

torch.manual_seed(0)
SHAPE = (2, 3, 4)
FACTOR = torch.randn(5, *SHAPE, dtype=torch.float64)
MEAN = torch.randn(SHAPE, dtype=torch.float64)
MOMENTS = Moments(MEAN, FACTOR)


def dense(moments: Moments) -> Tensor:
    flat = moments.factor.flatten(1)
    return flat.T @ flat


def test_products_traces_and_eigenvalues_are_those_of_the_dense_matrix() -> None:
    moments, sigma, vector = MOMENTS, dense(MOMENTS), torch.randn(SHAPE, dtype=torch.float64)
    flat = vector.flatten()
    torch.testing.assert_close(moments.quadratic(vector), flat @ sigma @ flat)
    torch.testing.assert_close(moments.variance.flatten(), sigma.diagonal())
    torch.testing.assert_close(moments.trace, sigma.trace())
    largest = float(torch.linalg.eigvalsh(sigma)[-1])
    assert moments.largest == pytest.approx(largest, rel=1e-9)
    assert moments.effective_rank() == pytest.approx(float(sigma.trace()) / largest, rel=1e-9)


def test_the_columns_make_the_whole_matrix_in_pieces() -> None:
    parts = list(MOMENTS.columns(chunk=4))
    assert max(len(part) for part in parts) <= 4
    flat = torch.cat(parts).flatten(1)
    torch.testing.assert_close(flat.T @ flat, dense(MOMENTS))


def test_compression_keeps_the_principal_directions() -> None:
    moments = MOMENTS
    values, vectors = torch.linalg.eigh(dense(moments))
    kept = moments.compressed(2)
    flat = kept.factor.flatten(1)
    assert len(flat) == 2
    best = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
    torch.testing.assert_close(flat.T @ flat, best)
    torch.testing.assert_close(flat @ flat.T, values[-2:].flip(0).diag(), atol=1e-10, rtol=0)  # longest first
    whole = moments.compressed(50)
    torch.testing.assert_close(dense(whole), dense(moments))


def test_wrong_formula_eigenvalues_on_the_rows_fail() -> None:
    """Known wrong: `U * S.unsqueeze(-1)` scales the rows of U, not its eigenvectors, which are columns."""
    sigma = dense(Moments(MEAN, FACTOR))
    values, vectors = torch.linalg.eigh(sigma)
    deviations = values.clamp(min=0).sqrt()
    right = (vectors * deviations.unsqueeze(-2)).T.view(-1, *SHAPE)
    wrong = (vectors * deviations.unsqueeze(-1)).T.view(-1, *SHAPE)
    torch.testing.assert_close(dense(Moments(MEAN, right)), sigma)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(dense(Moments(MEAN, wrong)), sigma, rtol=0.1, atol=0.1)
    torch.testing.assert_close(Moments(MEAN, wrong).trace, sigma.trace())  # so the trace does not tell


def test_nothing_random_has_no_rank() -> None:
    fixed = Moments(MEAN, FACTOR[:0])
    assert (float(fixed.trace), fixed.largest, fixed.effective_rank()) == (0.0, 0.0, 0.0)
    assert len(fixed.compressed(3).factor) == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a factor"):
        Moments(MEAN, MEAN)
    with pytest.raises(ValueError, match="rank"):
        Moments(MEAN, FACTOR).compressed(0)
    with pytest.raises(ValueError, match="sum 1"):
        moments_of(FACTOR, torch.ones(5))
    with pytest.raises(ValueError, match="none"):
        moments_of(FACTOR[:0])
