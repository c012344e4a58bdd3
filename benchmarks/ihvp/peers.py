"""Rows of the table: the other libraries, with the settings that serve them best.

Each gets the whole training set as one batch, without loader overhead, the damping as a number, and a stopping
rule set so that it stops at the target: where a library's tolerance means something else, it is translated.
Imports are inside the rows, so that one library's absence or weight touches no other row.
"""

import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.ihvp.cases import TARGET, Case
from benchmarks.ihvp.ours import Answer, DoesNotApplyError, Row
from benchmarks.ihvp.reference import hindsight
from influence.solvers.direct import MAX_DENSE

MOST = 3000
RANK = 100


class Net(nn.Module):
    """A network of the last layer alone."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.fc = nn.Linear(case.shape.features, case.shape.classes)
        with torch.no_grad():
            self.fc.weight.copy_(case.head[:, :-1])
            self.fc.bias.copy_(case.head[:, -1])

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.fc(features)
        return logits


def flat(matrix: Tensor) -> Tensor:
    """`[K, D+1]` to the order of `Net`'s parameters: weight, then bias."""
    return torch.cat([matrix[:, :-1].flatten(), matrix[:, -1]])


def unflat(vector: Tensor, shape: torch.Size) -> Tensor:
    """Return the inverse of `flat`."""
    classes, columns = shape
    weight, bias = vector.detach().split([classes * (columns - 1), classes])
    return torch.cat([weight.view(classes, columns - 1), bias[:, None]], dim=1)


def _loader(case: Case) -> Any:
    return DataLoader([(case.features, case.labels)], batch_size=None)  # type: ignore[arg-type]


def _curvlinops(case: Case, gradient: Tensor, damping: float, preconditioned: bool) -> Answer:
    from curvlinops import (
        CGInverseLinearOperator,
        HessianLinearOperator,
        KFACInverseLinearOperator,
        KFACLinearOperator,
    )
    from curvlinops.examples import IdentityLinearOperator

    net, loss, data = Net(case), nn.CrossEntropyLoss(), [(case.features, case.labels)]
    params = list(net.parameters())
    hessian = HessianLinearOperator(net, loss, params, data, check_deterministic=False)
    identity = IdentityLinearOperator([p.shape for p in params], torch.device("cpu"), torch.float32)
    options: dict[str, Any] = {"tolerance": TARGET, "max_iter": MOST, "eps": 0, "stop_updating_after": 0}
    if preconditioned:
        kfac = KFACLinearOperator(net, loss, params, data, check_deterministic=False, separate_weight_and_bias=False)
        inverse = KFACInverseLinearOperator(kfac, damping=damping, use_exact_damping=True)
        options["preconditioner"] = inverse.__matmul__
    count = _count_products(hessian)
    solution = CGInverseLinearOperator(hessian + damping * identity, **options) @ flat(gradient)
    return unflat(solution, gradient.shape), count[0], ""


def _count_products(operator: Any) -> list[int]:
    """Count the calls of an operator's product in the one entry of a list."""
    count, product = [0], operator._matmat

    def counted(*args: Any) -> Any:
        count[0] += 1
        return product(*args)

    operator._matmat = counted
    return count


def _pydvl_cg(case: Case, gradient: Tensor, damping: float, preconditioned: bool) -> Answer:
    from pydvl.influence.torch.operator import CgOperator, HessianOperator
    from pydvl.influence.torch.preconditioner import NystroemPreconditioner

    operator = HessianOperator(Net(case), nn.functional.cross_entropy, _loader(case))
    nystroem = NystroemPreconditioner(RANK).fit(operator, damping) if preconditioned else None
    count = [0]
    product = operator.apply

    def counted(vector: Tensor) -> Tensor:
        count[0] += 1
        result: Tensor = product(vector)
        return result

    operator.apply = counted
    # it stops at max(rtol^2 |v_0|, atol^2), so this is the relative tolerance
    atol = float((TARGET * gradient.norm()).sqrt())
    inverse = CgOperator(operator, damping, rtol=0.0, atol=atol, maxiter=MOST, preconditioner=nystroem)
    value = unflat(inverse.apply(flat(gradient)).flatten(), gradient.shape)
    return value, count[0], f"rank {RANK}" if preconditioned else ""


def _pydvl_nystroem(case: Case, gradient: Tensor, damping: float) -> Answer:
    from pydvl.influence.torch import NystroemSketchInfluence

    model = NystroemSketchInfluence(Net(case), nn.functional.cross_entropy, damping, RANK).fit(_loader(case))
    (block,) = model.block_mapper.composable_block_dict.values()
    return unflat(block.op.apply(flat(gradient)).flatten(), gradient.shape), None, f"rank {RANK}"


def _pydvl_ekfac(case: Case, gradient: Tensor, damping: float) -> Answer:
    from pydvl.influence.torch import EkfacInfluence

    model = EkfacInfluence(Net(case), update_diagonal=True, hessian_regularization=damping).fit(_loader(case))
    return unflat(model._solve_hvp(flat(gradient)[None])[0], gradient.shape), None, ""


def _captum(case: Case, gradient: Tensor, damping: float, naive: bool) -> Answer:
    from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction
    from captum.influence._core.influence_function import NaiveInfluenceFunction

    if naive and case.shape.unknowns > MAX_DENSE:
        raise DoesNotApplyError(f"a matrix of {case.shape.unknowns:,} rows")
    net, rows = Net(case), len(case.features)
    # its Hessian is that of the summed loss
    options: dict[str, Any] = {
        "loss_fn": nn.CrossEntropyLoss(reduction="none"),
        "layers": ["fc"],
        "hessian_reg": damping * rows,
        "hessian_inverse_tol": 0.0,
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint = str(Path(folder) / "net.pt")
        torch.save(net.state_dict(), checkpoint)
        if naive:
            unknowns = case.shape.unknowns
            root = NaiveInfluenceFunction(net, _loader(case), checkpoint, projection_dim=unknowns, **options).R
            remark = "dense"
        else:
            parts = ArnoldiInfluenceFunction(net, _loader(case), checkpoint, **options).R
            root = torch.stack([torch.cat([part.flatten() for part in column]) for column in parts], dim=1)
            remark = "default: rank 50 of 200"
    return unflat(rows * (root @ (root.T @ flat(gradient))), gradient.shape), None, remark


def _dattri(case: Case, gradient: Tensor, damping: float, tuned: bool) -> Answer:
    from dattri.func.hessian import ihvp_at_x_cg

    columns = case.shape.features + 1

    def loss(vector: Tensor) -> Tensor:
        weight, bias = vector.split([case.shape.classes * (columns - 1), case.shape.classes])
        logits = case.features @ weight.view(case.shape.classes, -1).T + bias
        return nn.functional.cross_entropy(logits, case.labels)

    steps = hindsight(case, damping) if tuned else 10
    inverse = ihvp_at_x_cg(loss, flat(case.head), max_iter=steps, regularization=damping)
    return unflat(inverse(flat(gradient))[0], gradient.shape), steps + 1, ""


TUNED = "dattri CG, hindsight"  # its number of steps is found before the clock starts
ROWS: dict[str, Row] = {
    "curvlinops CG": partial(_curvlinops, preconditioned=False),
    "curvlinops CG + KFAC": partial(_curvlinops, preconditioned=True),
    "pyDVL CG": partial(_pydvl_cg, preconditioned=False),
    "pyDVL CG + Nystroem": partial(_pydvl_cg, preconditioned=True),
    "pyDVL Nystroem": _pydvl_nystroem,
    "pyDVL EKFAC": _pydvl_ekfac,
    "captum Naive": partial(_captum, naive=True),
    "captum Arnoldi": partial(_captum, naive=False),
    "dattri CG": partial(_dattri, tuned=False),
    TUNED: partial(_dattri, tuned=True),
}
