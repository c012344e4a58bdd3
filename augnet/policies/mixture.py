"""Mixture policy, one or two ops per image from a learned categorical distribution over (op, strength level).

    q(op, level) = softmax(log prior(op) + a_op) * softmax(log prior(level) + b_op,level)
    p(op, level) = (1 - floor) q(op, level) + floor * prior(op, level)

The strengths of an op are divided into a few levels; strengths within a level are equally likely, and so are both
signs. Learned are one number for each op and one for each of its levels. At a = b = 0 the mixture is the prior, uniform
over the table, which for `trivial_augment_table` is TrivialAugment-Wide (Müller and Hutter, 2021). The floor keeps all
probabilities positive.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from augnet.classic import classic_space
from augnet.policies.base import Description, Policy, rounded
from augnet.space import TransformSpace
from augnet.strengths import StrengthTable, space_table, trivial_augment_table


class MixturePolicy(Policy):
    """One or two ops per image from a learned categorical distribution over (op, strength level).

    It is learned by the score function, from the `log_prob` of the drawn choices; the magnitudes carry no gradient.

    Args:
        table: The ops and strengths to choose from.
        levels: Number of levels of an op, from 1 to the number of strengths.
        ops_per_image: 1 or 2. Two are drawn independently; an op drawn twice is applied once.
        floor: Share of draws from the prior, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> policy = MixturePolicy.over(TransformSpace(["rotation", "scale"]))
        >>> policy.sample(torch.rand(8, 3, 16, 16)).count_nonzero(dim=1).max().item()  # one op an image
        1
    """

    kind = "mixture"
    logged: ClassVar[Mapping[str, str]] = {"probability": "probability", "strength": "strength"}
    quantity = "probability"
    learns_from_choices = True
    edges: Tensor
    adjustable: Tensor

    def __init__(self, table: StrengthTable, levels: int = 3, ops_per_image: int = 1, floor: float = 0.1) -> None:
        super().__init__()
        if not 1 <= levels <= table.strengths:
            raise ValueError(f"levels: expected 1 to {table.strengths} (the number of strengths), found {levels}")
        if ops_per_image not in (1, 2):
            raise ValueError(f"ops_per_image: expected 1 or 2, found {ops_per_image}")
        if not 0 <= floor < 1:
            raise ValueError(f"floor: expected a share in [0, 1), found {floor}; 0.1 is usual")
        self.table, self.levels, self.ops_per_image, self.floor = table, levels, ops_per_image, floor
        edges = (torch.arange(levels + 1) * table.strengths / levels).ceil().long()
        self.register_buffer("edges", edges, persistent=False)  # level l has the strengths edges[l] ... edges[l+1]-1
        adjustable = torch.tensor(table.adjustable, dtype=torch.float32)[:, None]
        self.register_buffer("adjustable", adjustable, persistent=False)
        self.op_logits = nn.Parameter(torch.zeros(len(table)))
        self.level_logits = nn.Parameter(torch.zeros(len(table), levels))

    @classmethod
    def over(cls, space: TransformSpace, strengths: int = 31, **settings: Any) -> Self:
        """Build a mixture of the identity and the ops of a space; `settings` as for the class."""
        return cls(space_table(space, strengths), **settings)

    @classmethod
    def trivial_augment(cls, **settings: Any) -> Self:
        """Build a mixture over `classic_space()`, initially TrivialAugment-Wide; `settings` as for the class."""
        return cls(trivial_augment_table(), **settings)

    def prior(self) -> Tensor:
        """Return the initial probabilities `[O, L]` of (op, level)."""
        share = self.edges.diff().to(self.op_logits) / self.table.strengths
        return (share / len(self.table)).expand(len(self.table), -1)

    def probabilities(self) -> Tensor:
        """Return the probabilities `[O, L]` of (op, level), carrying gradient to the policy."""
        prior = self.prior()
        levels = (prior.log() + self.adjustable * self.level_logits).softmax(dim=1)
        learned = self.op_logits.softmax(dim=0)[:, None] * levels
        return (1 - self.floor) * learned + self.floor * prior

    def kl(self) -> Tensor:
        """Return the Kullback-Leibler divergence of one choice from the prior, >= 0, in nats; carries gradient."""
        probabilities = self.probabilities()
        return (probabilities * (probabilities / self.prior()).log()).sum()

    def cost(self, kl: float, sparsity: float) -> Tensor | None:
        """Return `kl` times the divergence, see `Policy.cost`."""
        return kl * self.kl() if kl else None

    def log_prob(self, choices: Tensor) -> Tensor:
        """Return the log-probability `[B]` of the choices `[B, N]` of a draw, carrying gradient to the policy."""
        return self.probabilities().log().flatten()[choices].sum(dim=1)

    @property
    def numbers_per_image(self) -> int:
        """3 for each op of an image: one for the choice, one for the strength, one for the sign."""
        return 3 * self.ops_per_image

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return magnitudes `[B, P]`, see `choose`; labels are not used."""
        return self.choose(images, numbers)[0]

    @torch.no_grad()
    def choose(self, images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Choose ops and strengths for images of this shape from random numbers `[B, U]`, uniform in [0, 1).

        Returns:
            Magnitudes `[B, P]`, without gradient; the N choices of each image `[B, N]` int64, `op * levels + level`.
        """
        probabilities = self.probabilities().flatten()
        total = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32)).cumsum(dim=0)
        place, within, sign = numbers.to(total).view(numbers.shape[0], 3, self.ops_per_image).unbind(dim=1)
        choices = (place[..., None] * total[-1] >= total).sum(dim=-1).clamp(max=len(total) - 1)
        op, level = choices // self.levels, choices % self.levels
        size = self.edges.diff()[level]
        strength = self.edges[level] + (within * size).long().minimum(size - 1)
        table = self.table.rows(*images.shape[-2:]).to(self.op_logits)  # [O, 2, S, P]
        magnitudes = table[op, (sign < 0.5).long(), strength]  # [B, N, P]
        if self.ops_per_image == 2:
            magnitudes[:, 1] *= (op[:, 0] != op[:, 1])[:, None]
        return magnitudes.sum(dim=1), choices

    @torch.no_grad()
    def describe(self, space: TransformSpace) -> Description:
        """Return for each op its `probability`, those of its levels, and its mean `strength` with `unit` and `bound`.

        With two ops per image the probability is that of one choice.
        """
        probabilities = self.probabilities()
        middle = (self.edges[:-1] + self.edges[1:] - 1) / 2 / (self.table.strengths - 1)  # of each level
        shares = (probabilities * middle).sum(dim=1) / probabilities.sum(dim=1)
        shares = torch.where(self.adjustable[:, 0] > 0, shares, torch.ones_like(shares))
        facts = zip(self.table.names, self.table.units, self.table.strongest, probabilities, shares, strict=True)
        return {
            name: {
                "probability": rounded(float(levels.sum())),
                "probabilities": rounded(levels.tolist()),
                "strength": rounded(float(share) * strongest),
                "unit": unit,
                "bound": rounded(strongest),
            }
            for name, unit, strongest, levels, share in facts
        }

    def shares(self, space: TransformSpace) -> dict[str, float]:
        """Return the probability of each op."""
        return {name: facts["probability"] for name, facts in self.describe(space).items()}

    def config(self) -> dict[str, Any]:
        """Return the kind of the table and the arguments of the class."""
        return {
            "table": self.table.kind,
            "strengths": self.table.strengths,
            "levels": self.levels,
            "ops_per_image": self.ops_per_image,
            "floor": self.floor,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: TransformSpace) -> Self:
        """Build the policy of a config, see `Policy.from_config`."""
        settings = {name: config[name] for name in ("levels", "ops_per_image", "floor")}
        if config["table"] == "trivial_augment":
            if space.names != classic_space().names:
                raise ValueError(f"the table trivial_augment is for the space of the classic ops, found {space.names}")
            return cls.trivial_augment(**settings)
        if config["table"] != "space":
            raise ValueError(f"table: expected space or trivial_augment, found {config['table']!r}")
        return cls.over(space, config["strengths"], **settings)
