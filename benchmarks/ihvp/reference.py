"""References of the rows: the exact solution, and the best step count of a solver of fixed length."""

from functools import cache
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.ihvp.cases import DAMPING, TARGET, Case, with_bias
from benchmarks.ihvp.ours import DoesNotApplyError, hessian_of
from influence import LastLayerHessian, solve

LARGE = 1_000_000  # unknowns: relative damping then takes hours in float64
EXACT = 1e-7
_MOST = 3000


def affordable(case: Case, mode: str) -> bool:
    """Return whether the exact solution takes minutes at most."""
    return mode == "absolute" or case.shape.unknowns < LARGE


def exact(case: Case, mode: str, folder: Path) -> Tensor | None:
    """The solution in float64 with a residual of 1e-7, from `folder` if it is there.

    It is found by `influence`; that it solves the system is checked by the product of the case.
    """
    if not affordable(case, mode):
        return None
    path = folder / f"exact-{case.shape.features}-{case.shape.classes}-{case.shape.rows}-{mode}.safetensors"
    if not path.exists():
        features = case.features.double()
        logits = with_bias(features) @ case.head.double().T
        gradient, damping = case.gradient(), case.damping(mode)
        hessian = LastLayerHessian(features, logits, damping=damping, damping_mode="absolute")
        value = solve(hessian, gradient, "cg" if case.shape.unknowns > LARGE else "kronecker_cg", EXACT, 5000).value
        error = case.residual(value, gradient, damping)
        if error > 2 * EXACT:
            raise RuntimeError(f"expected a reference with residual {EXACT}, found {error}")
        unfinished = path.with_suffix(".part")
        save_file({"value": value}, unfinished)
        unfinished.replace(path)
    return load_file(path)["value"]


@cache
def hindsight(case: Case, damping: float) -> int:
    """Return the fewest steps after which conjugate gradients that start at `g`, as dattri's do, meet the target."""
    if case.shape.unknowns > LARGE and damping < DAMPING:
        raise DoesNotApplyError("nobody can say how many steps to ask for")
    hessian, gradient = hessian_of(case, damping), case.gradient()
    value = gradient.clone()
    remainder = direction = gradient - hessian @ value
    for step in range(1, _MOST):
        image = hessian @ direction
        length = remainder.square().sum() / (direction * image).sum()
        value, smaller = value + length * direction, remainder - length * image
        if smaller.norm() <= TARGET * gradient.norm():
            return step
        direction = smaller + smaller.square().sum() / remainder.square().sum() * direction
        remainder = smaller
    raise DoesNotApplyError(f"more than {_MOST} steps")
