"""FieldAugNet: the paper's augmentation network as one module, used like `AugNet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, get_args, overload

import torch
from torch import Tensor, nn

from augnet.batch import Batch
from augnet.code_encoder import CodeEncoder, drop_codes
from augnet.field import CODE_SIZE, Composition, FieldDecoder, Fields, smooth_change, smooth_displacement, transform

SATURATED = 0.95


class FieldAugNet(nn.Module):
    """`x~ = G(x, dropout(E(x)))`: augments in `train()`, returns its input unchanged in `eval()`.

    E reads a code off each image, dropout on the code makes it random, G decodes it into a displacement and a colour
    filter for every pixel (Lee, Park, Pham and Yoo, CVPR 2020; details at `FieldDecoder` and `CodeEncoder`). Starts
    near the identity. Differs from the paper in that images are clamped to [0, 1], so a pixel beyond carries no
    gradient; `augnet.field.transform` is the literal form.

    Args:
        channels: C of the images.
        height: Of the images, in pixels; one network serves one size.
        width: Of the images, in pixels.
        composition: `parallel` or `serial`, see `augnet.field.transform`.
        appearance: Whether to change colours too. None does so for three channels and not for one, as the paper does;
            for other numbers it must be said.
        dropout: Rate on the code, in [0, 1).

    Raises:
        ValueError: If an argument is out of range, or `appearance` is needed.

    Example:
        >>> net = FieldAugNet(3, 32, 32)
        >>> net(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
        >>> FieldAugNet.from_config(net.config()).config() == net.config()
        True
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        composition: Composition = "parallel",
        appearance: bool | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if min(channels, height, width) < 1:
            raise ValueError(f"expected at least 1 channel and 1x1 pixels, found {channels} and {height}x{width}")
        if composition not in get_args(Composition):
            raise ValueError(f"composition: expected one of {get_args(Composition)}, found {composition!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a rate in [0, 1), found {dropout}; the paper's is 0.5")
        if appearance is None and channels not in (1, 3):
            raise ValueError(
                f"appearance: the default is known for 1 and 3 channels, found {channels}; say True for a "
                f"{channels}x{channels} filter of all channels at each pixel, or False to move pixels only."
            )
        self.composition: Composition = composition
        self.dropout = dropout
        self.encoder = CodeEncoder(channels, height, width)
        self.decoder = FieldDecoder(channels, height, width, channels == 3 if appearance is None else appearance)
        self._latest: tuple[Tensor, Tensor] | None = None

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, fit for JSON; with `state_dict()` all there is to save."""
        G = self.decoder
        return {
            "channels": G.channels,
            "height": G.height,
            "width": G.width,
            "composition": self.composition,
            "appearance": G.appearance,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A network with new parameters.

        Raises:
            ValueError: If `config` is not what `config()` returned.
        """
        try:
            return cls(**config)
        except TypeError as error:
            raise ValueError(f"expected what FieldAugNet.config() returns, found {dict(config)} ({error})") from error

    def sample(self, images: Tensor, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw codes `[B, 128]`, one row per image; they carry gradient to E. Labels are not looked at."""
        self._check(images)
        with torch.autocast(images.device.type, enabled=False):
            return drop_codes(self.encoder(images.to(self.decoder.dense.weight.dtype)), self.dropout, generator)

    def apply_codes(self, images: Tensor, codes: Tensor) -> Tensor:
        """`G(x, tau)` clamped to [0, 1], in float32 or better whatever autocast says.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            codes: `[B, 128]`; carries gradient.

        Returns:
            `[B, C, H, W]` of the dtype of `images`, carrying gradient to G too.

        Raises:
            ValueError: If shapes do not fit.
        """
        self._check(images)
        if codes.shape != (len(images), CODE_SIZE):
            raise ValueError(f"expected codes [{len(images)}, {CODE_SIZE}], found {tuple(codes.shape)}")
        with torch.autocast(images.device.type, enabled=False):
            precise, fields = self._decode(images, codes)
            return transform(precise, fields, self.composition).clamp(0, 1).to(images.dtype)

    @overload
    def forward(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor: ...

    @overload
    def forward(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        boxes: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Any: ...

    def forward(
        self,
        images: Tensor,
        labels: Tensor | None = None,
        masks: Tensor | None = None,
        boxes: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Augment each image by a draw of its own; labels stay as they are.

        Args:
            images: `[B, C, H, W]` in [0, 1]; carries gradient.
            labels: `[B]` or `[B, K]`, returned unchanged.
            masks: Must be None.
            boxes: Must be None.
            generator: Source of the dropout; `None` is torch's default generator.

        Returns:
            The images `[B, C, H, W]` in [0, 1], carrying gradient to E and G; if labels were given, a tuple of both.
            In evaluation mode the input itself.

        Raises:
            ValueError: If shapes do not fit, or there are masks or boxes.
        """
        if masks is not None or boxes is not None:
            raise ValueError(
                "a field network moves every pixel on its own, so masks and boxes cannot follow by one matrix; "
                "leave them out, or use an AugNet of spatial ops."
            )
        if self.training:
            Batch(images, labels).check()
            codes = self.sample(images, generator=generator)
            self._latest = (images.detach(), codes.detach())
            images = self.apply_codes(images, codes)
        return images if labels is None else (images, labels)

    @torch.no_grad()
    def describe(self) -> dict[str, dict[str, float | str]]:
        """What the network does to the latest batch it augmented: `{fact: {value, unit}}`; empty before the first.

        The mean length of the displacement, the mean absolute change of the given images' colours before clamping, and
        the share of components of tau with `|tau| >= 0.95` among those that dropout kept. A share near 1 means that
        the gradient to E has vanished.
        """
        if self._latest is None:
            return {}
        images, codes = self._latest
        images, fields = self._decode(images, codes)
        kept = codes[codes != 0].abs() * (1 - self.dropout)
        facts = {
            "displacement": (smooth_displacement(fields).norm(dim=1).mean(), "pixels"),
            "appearance": (smooth_change(images, fields).abs().mean(), "fraction of the full range"),
            "saturation": ((kept >= SATURATED).sum() / max(len(kept), 1), f"share of |tau| >= {SATURATED}"),
        }
        return {name: {"value": float(f"{value.item():.6g}"), "unit": unit} for name, (value, unit) in facts.items()}

    def _decode(self, images: Tensor, codes: Tensor) -> tuple[Tensor, Fields]:
        """The images and their fields in one dtype, at least float32."""
        fields = self.decoder(codes.to(self.decoder.dense.weight.dtype))
        dtype = torch.promote_types(torch.promote_types(images.dtype, fields.shift.dtype), torch.float32)
        return images.to(dtype), fields.to(dtype)

    def _check(self, images: Tensor) -> None:
        expected = (self.decoder.channels, self.decoder.height, self.decoder.width)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"expected images [B, {', '.join(map(str, expected))}], found {tuple(images.shape)}; "
                "resize them, or make a field network for their size."
            )
