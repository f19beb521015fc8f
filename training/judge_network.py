"""The judge's network, and how its pictures are varied while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training import cohort
from training.judge_pictures import FINDINGS, SIDED

FEATURES = 128
_WIDTHS = (12, 24, 48, 96, 160)
# Sharpness of the smooth maximum over places: between a mean (0) and the maximum.
_SHARP = 3.0


class Layer(nn.Sequential):
    """Convolution, batch norm and, unless told otherwise, ReLU."""

    def __init__(
        self, inward: int, outward: int, kernel: int, stride: int = 1, *, active: bool = True
    ) -> None:
        """Build it, untrained."""
        conv = nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)
        parts: list[nn.Module] = [conv, nn.BatchNorm2d(outward)]
        super().__init__(*parts, *([nn.ReLU(inplace=True)] if active else []))


class Residual(nn.Module):
    """Two layers, 3 x 3 or 1 x 1, with a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inward: int, outward: int, stride: int = 1, *, kernel: int = 3) -> None:
        """Build it, untrained."""
        super().__init__()
        self.first = Layer(inward, outward, 3 if stride == 2 else kernel, stride)
        self.second = Layer(outward, outward, kernel, active=False)
        shrink = nn.AvgPool2d(2) if stride == 2 else nn.Identity()
        same = inward == outward and stride == 1
        short = nn.Sequential(shrink, Layer(inward, outward, 1, active=False))
        self.short = nn.Identity() if same else short

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's activations."""
        return torch.relu(self.short(x) + self.second(self.first(x)))


def smooth_maximum(places: Tensor) -> Tensor:
    """Return a maximum over the last two axes through which every place learns."""
    flat = places.float().flatten(-2) * _SHARP
    return (flat.logsumexp(-1) - torch.log(torch.tensor(float(flat.shape[-1])))) / _SHARP


class Network(nn.Module):
    """A slim residual network of 224 px pictures: 1.3 M parameters.

    Small lesions are read place by place on a 14 x 14 grid, large ones from pooled features; both
    add up. Sides are read from the half of the grid where they lie: the patient's right is the left
    half of the picture.
    """

    def __init__(
        self,
        findings: Sequence[str] = FINDINGS,
        sided: Sequence[str] = SIDED,
        *,
        size: int = cohort.SIZE,
        labelled_sides: bool = True,
        near: bool = False,
    ) -> None:
        """Build it, untrained.

        Args:
            findings: names of its k logits.
            sided: those that it tells the side of.
            size: side in pixels that pictures are reduced to first, a multiple of 16.
            labelled_sides: sides are learned beside the findings; otherwise they are read from the
                places of the finding itself, for which no side need be labelled.
            near: a place sees 65 pixels of `size` a side, and findings are read from places alone:
                what concerns the whole picture (exposure, posture) can tell little.
        """
        super().__init__()
        self.size = size
        self.near = near
        self.of_sides = [list(findings).index(name) for name in sided]
        self.heads = [len(findings), len(sided) if labelled_sides else 0]
        a, b, c, d, e = _WIDTHS
        kernel = 1 if near else 3
        self.early = nn.Sequential(
            Layer(1, a, 5, 2),
            Layer(a, b, 3, 2),
            Residual(b, b),
            Residual(b, c, 2),
            Residual(c, c, kernel=kernel),
        )
        self.place = nn.Parameter(torch.zeros(1, c, size // 8, size // 8))
        self.late = nn.Sequential(
            Residual(c, d, 2, kernel=kernel),
            Residual(d, d, kernel=kernel),
            Residual(d, e, kernel=kernel),
            Residual(e, e, kernel=kernel),
        )
        self.local = nn.Conv2d(e, sum(self.heads), 1)
        if not near:
            self.embed = nn.Linear(2 * e, FEATURES)
            self.whole = nn.Linear(FEATURES, len(findings))
        self.drop = nn.Dropout(0.2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits n x k, sides n x k_sided x 2 and features n x d of n x 1 x 224 x 224.

        Features are what is pooled: the layer behind it can fall silent where places say it all.
        """
        if self.size != image.shape[-1]:
            image = functional.interpolate(image, (self.size, self.size), mode="bilinear")
        grid = self.late(self.early((image - 0.5) * 4) + self.place)
        of_findings, of_sides = self.local(self.drop(grid) if self.near else grid).split(
            self.heads, dim=1
        )
        if not self.heads[1]:
            of_sides = of_findings[:, self.of_sides]
        pooled = torch.cat([grid.mean((-2, -1)), grid.amax((-2, -1))], dim=1)
        logits = smooth_maximum(of_findings)
        if not self.near:
            logits = logits + self.whole(self.drop(torch.relu(self.embed(pooled)))).float()
        half = of_sides.shape[-1] // 2
        sides = torch.stack(
            [smooth_maximum(of_sides[..., :half]), smooth_maximum(of_sides[..., half:])], dim=-1
        )
        return logits, sides, pooled.float()


@dataclass(frozen=True)
class Variation:
    """How far pictures are varied: exposure, posture, detector. No mirroring: sides matter."""

    turn: float = 0.10
    zoom: float = 0.10
    shift: float = 0.08
    gamma: float = 0.35
    gain: float = 0.18
    level: float = 0.10
    noise: float = 0.03
    blur: tuple[float, float] = (-0.6, 1.0)

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Return n x 1 x h x w in [0, 1], varied, of n x h x w uint8."""
        x = pixels[:, None].float() / 255
        draw = Draw(len(x), generator)
        turned = functional.grid_sample(
            x, self._grid(draw, x.shape), padding_mode="border", align_corners=False
        )
        # Resampling softens: some pictures keep their own sharpness.
        x = torch.where(draw.chance(0.7), turned, x)
        soft = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = x + draw.chance(0.6) * draw.between(*self.blur) * (soft - x)
        x = x.clamp(1e-4, 1) ** draw.around(self.gamma).exp()
        x = (x - 0.5) * (1 + draw.around(self.gain)) + 0.5 + draw.around(self.level)
        grain = torch.randn(x.shape, generator=generator)
        return (x + draw.chance(0.5) * draw.between(0, self.noise) * grain).clamp(0, 1)

    def _grid(self, draw: Draw, shape: torch.Size) -> Tensor:
        angle, scale = draw.around(self.turn), 1 + draw.around(self.zoom)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        rows = [cos, -sin, draw.around(self.shift), sin, cos, draw.around(self.shift)]
        matrix = torch.cat(rows, 1).view(-1, 2, 3)
        return functional.affine_grid(matrix, list(shape), align_corners=False)


class Draw:
    """Random numbers, one a picture: n x 1 x 1 x 1."""

    def __init__(self, n: int, generator: torch.Generator) -> None:
        """Keep how many are drawn at once, and from where."""
        self._n, self._generator = n, generator

    def between(self, low: float, high: float) -> Tensor:
        """Return numbers between two ends."""
        drawn = torch.rand((self._n, 1, 1, 1), generator=self._generator)
        return drawn * (high - low) + low

    def around(self, reach: float) -> Tensor:
        """Return numbers at most `reach` from 0."""
        return self.between(-reach, reach)

    def chance(self, share: float) -> Tensor:
        """Return True for a share of them."""
        return self.between(0, 1) < share
