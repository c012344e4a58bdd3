"""Field policy, the paper's augmentation network `x~ = G(x, dropout(E(x)))`.

E maps each image to a code, dropout makes the code random, and G decodes it into a displacement and a color filter for
every pixel (Lee, Park, Pham and Yoo, CVPR 2020; details at `CodeEncoder` and `FieldDecoder`). The dropout mask is a
function of given random numbers, so the gradient reaches E and G through the fields (reparametrization).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from augnet.code_encoder import CodeEncoder, drop_codes
from augnet.field import CODE_SIZE, FieldDecoder, as_fields, smooth_change, smooth_displacement
from augnet.field_space import FieldSpace
from augnet.policies.base import SATURATED, Description, Policy, rounded
from augnet.space_base import Space


class FieldPolicy(Policy):
    """Fields for each image from an encoder, dropout and a decoder, initially near the identity.

    Forward passes with gradient store statistics of their batch for `describe`.

    Args:
        space: The fields.
        dropout: Rate on the code, in [0, 1).

    Raises:
        ValueError: If `dropout` is out of range.
    """

    kind = "field"
    space_type: ClassVar[type[Space]] = FieldSpace
    logged: ClassVar[Mapping[str, str]] = {"value": "field"}
    quantity: ClassVar[str] = "share of the shorter side, of the range, of the codes"
    latest: Tensor

    def __init__(self, space: FieldSpace, dropout: float = 0.5) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a rate in [0, 1), found {dropout}; the paper's is 0.5")
        self.space, self.dropout = space, dropout
        self.encoder = CodeEncoder(space.channels, *space.size)
        self.decoder = FieldDecoder(space.channels, *space.size, space.appearance)
        self.register_buffer("latest", torch.zeros(3))

    @property
    def numbers_per_image(self) -> int:
        """128, one random number for each component of the code."""
        return CODE_SIZE

    def codes(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return `dropout(E(x))`, `[B, 128]`, carrying gradient to E; arguments as for `magnitudes`."""
        self.space.check_images(images)
        return drop_codes(self.encoder(images.to(self.latest.dtype)), self.dropout, numbers)

    def magnitudes(self, images: Tensor, labels: Tensor | None, numbers: Tensor) -> Tensor:
        """Return fields `[B, N, H, W]`, carrying gradient to E and G; labels are not used. See `Policy.magnitudes`."""
        codes = self.codes(images, numbers)
        maps: Tensor = self.decoder(codes)
        if maps.requires_grad and images.shape[0]:
            self._measure(images, codes.detach(), maps.detach())
        return maps

    @torch.no_grad()
    def _measure(self, images: Tensor, codes: Tensor, maps: Tensor) -> None:
        fields = as_fields(maps, self.space.channels)
        kept = codes[codes != 0].abs() * (1 - self.dropout)
        saturated = (kept >= SATURATED).sum() / max(len(kept), 1)
        change = smooth_change(images.to(maps.dtype), fields)
        found = smooth_displacement(fields).norm(dim=1).mean(), change.abs().mean(), saturated
        self.latest.copy_(torch.stack([value.to(self.latest.dtype) for value in found]))

    def describe(self, space: Space) -> Description:
        """Return statistics of the latest batch with gradient, `{fact: {value, unit}}`; 0 before the first.

        The mean length of the displacement, the mean absolute color change of the input images before clamping, and the
        share of components of tau with `|tau| >= 0.95` among those that dropout kept. A share near 1 means that the
        gradient to E has vanished.
        """
        units = ("pixels", "fraction of the full range", f"share of |tau| >= {SATURATED}")
        names = ("displacement", "appearance", "saturation")
        facts = zip(names, self.latest.tolist(), units, strict=True)
        return {name: {"value": rounded(value), "unit": unit} for name, value, unit in facts}

    def shares(self, space: Space) -> dict[str, float]:
        """Return the numbers of `describe`, the displacement as a fraction of the shorter side, clamped to 1."""
        values = {name: facts["value"] for name, facts in self.describe(space).items()}
        values["displacement"] /= min(self.space.size)
        return {name: min(value, 1.0) for name, value in values.items()}

    def saturated(self, space: Space) -> float:
        """Return the share of components of tau with `|tau| >= 0.95` in the latest batch with gradient."""
        return float(self.latest[2])

    def network_weights(self) -> list[nn.Parameter]:
        """Return all parameters."""
        return list(self.parameters())

    def config(self) -> dict[str, Any]:
        """Return the rate of the dropout."""
        return {"dropout": self.dropout}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], space: Space) -> Self:
        """Build the policy of a config, see `Policy.from_config`."""
        if not isinstance(space, FieldSpace):
            raise ValueError(f"expected a FieldSpace, found {type(space).__name__}")
        return cls(space, config["dropout"])
