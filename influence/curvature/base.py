"""What the solvers ask of the second derivatives of a loss in the logits."""

from abc import ABC, abstractmethod

from torch import Tensor


class Curvature(ABC):
    """Weighted second derivatives `w_i C_i` of the losses of N rows in their K logits, `C_i` `[K, K]` symmetric.

    Attributes:
        traces: `w_i tr C_i`, `[N]`.
        shift_invariant: True if adding one number to all logits of a row changes no loss; each `C_i 1` is 0 then.
        definite: True if no `C_i` has a negative eigenvalue, as for a loss that is convex in the logits.
    """

    traces: Tensor
    shift_invariant = False
    definite = True

    @abstractmethod
    def apply(self, scores: Tensor) -> Tensor:
        """Return `w_i C_i u_i`, `[K, N]`, for the scores `u` `[K, N]`, which may be overwritten."""

    @abstractmethod
    def total(self) -> Tensor:
        """Return `sum_i w_i C_i`, `[K, K]`."""

    @abstractmethod
    def diagonal(self, basis: Tensor) -> Tensor:
        """Return `w_i (Q^T C_i Q)_kk`, `[N, K]`, for an orthogonal basis `Q` `[K, K]`."""

    @abstractmethod
    def bound(self) -> Tensor:
        """Return upper bounds of the eigenvalues of `w_i C_i`, `[N]`."""

    @abstractmethod
    def dense(self, rows: Tensor) -> Tensor:
        """Return `sum_i w_i C_i (x) a_i a_i^T`, `[K(D+1), K(D+1)]`, class-major, for rows `a` `[N, D+1]`."""

    @abstractmethod
    def take(self, rows: Tensor) -> "Curvature":
        """Return the curvature of some rows, by their numbers."""

    @abstractmethod
    def roots(self) -> Tensor:
        """Return `R_i` `[N, K, K]` with `R_i^T R_i = w_i C_i`, in float64; the positive part if it is not definite."""

    def root_scores(self, roots: Tensor, scores: Tensor) -> Tensor:
        """Return `R_i u_i`, `[N, K]`, for `roots` and scores `u` `[K, N]` in float64, which may be overwritten."""
        return (roots @ scores.T[:, :, None])[:, :, 0]
