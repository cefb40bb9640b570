"""The painting behind the picture ``example:brushwork``, drawn by this program, and so free of copyright.

    python experiments/studies/paint_brushwork.py nstjax/images/brushwork.png

It is made as a painter would: over a toned ground, long broad strokes first and finer ones on top. Each stroke is a
bundle of bristles that follows a common flow. Then light from the upper left rakes over the relief of the paint. The
seed is fixed.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nstjax import images

_Floats = NDArray[np.float64]
_Field = Callable[[_Floats], _Floats]  # positions [..., 2] to values [..., channels]

# Lengths are in units of its height; positions are [..., 2], (x, y) with y downwards.

_WIDTH, _HEIGHT = 640, 512
_SCALE = 2  # the painting is drawn this much larger and then reduced, which smooths the edges of the bristles
_STEPS = 14  # straight pieces in a stroke
_HORIZON = 0.74

_WHIRLS = np.array(
    [  # centre x and y, radius and direction of rotation of the lights in the sky
        (0.44, 0.36, 0.150, 1.0),
        (0.94, 0.24, 0.115, -1.0),
        (0.08, 0.16, 0.070, -1.0),
        (0.69, 0.56, 0.060, -1.0),
        (1.17, 0.52, 0.070, 1.0),
        (0.14, 0.58, 0.045, 1.0),
    ]
)

# Palettes, from dark to light.
_SKY = ("0b1033", "14246b", "1d4aa3", "2f7fc1", "63b3c9", "b9ddd0")
_GLOW = ("fff8dc", "ffe58a", "f7b733", "e8743b", "c9506b", "5b4fa0")  # from a whirl's centre outwards
_LAND = ("101a2b", "1c3a3d", "2d5a3f", "7d8b32", "d79a2b", "c1440e")


class _Brush(NamedTuple):
    strokes: int  # number of strokes
    length: float
    width: float
    bristles: int


_BRUSHES = (
    _Brush(600, 0.34, 0.060, 26),
    _Brush(1300, 0.22, 0.032, 16),
    _Brush(2400, 0.13, 0.018, 9),
    _Brush(2400, 0.07, 0.010, 5),
)


def paint() -> _Floats:
    """Return the painting, [512, 640, 3] in [0, 1]."""
    rng = np.random.default_rng(1889)
    flow, colour = _make_flow(rng), _make_colour(rng)
    # The fourth channel is the thickness of the paint.
    canvas = Image.new("RGBA", (_WIDTH * _SCALE, _HEIGHT * _SCALE), (60, 34, 30, 128))
    for brush in _BRUSHES:
        _paint_strokes(canvas, brush, flow, colour, rng)
    return _apply_light(np.asarray(canvas.reduce(_SCALE), np.float64) / 255)


def _draw_waves(rng: np.random.Generator, frequency: float) -> tuple[_Floats, _Floats]:
    """Draw wave vectors [24, 2] and phases [24] of smooth noise with up to ``frequency`` cycles per unit length."""
    angles, lengths, phases = rng.uniform(0, 1, (3, 24))
    lengths = 2 * np.pi * frequency * (0.3 + 0.7 * lengths)
    angles = 2 * np.pi * angles
    return np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1), 2 * np.pi * phases


def _make_flow(rng: np.random.Generator) -> _Field:
    """Make a field of unit directions: the curl of noise with whirls in the sky, and rolling furrows on the land."""
    vectors, phases = _draw_waves(rng, 2.2)

    def flow(positions: _Floats) -> _Floats:
        swell = np.cos(positions @ vectors.T + phases) @ vectors / 24
        direction = np.stack([1.1 + 0.35 * swell[..., 1], -0.35 * swell[..., 0]], axis=-1)
        for x, y, radius, turn in _WHIRLS:
            away = (positions - (x, y)) / radius
            strength = 6 * np.exp(-np.sum(away**2, axis=-1, keepdims=True) / 3.5)
            direction += strength * (turn * np.stack([-away[..., 1], away[..., 0]], axis=-1) - 0.25 * away)
        furrows = np.stack(
            [np.ones_like(positions[..., 0]), 0.5 * np.sin(5 * positions[..., 0] + 9 * positions[..., 1])], axis=-1
        )
        land = _measure_land(positions)[..., None]
        direction = (1 - land) * direction + land * furrows
        return direction / np.linalg.norm(direction, axis=-1, keepdims=True)

    return flow


def _measure_land(positions: _Floats) -> _Floats:
    """Return 0 in the sky and 1 on the land, with a soft ridge between."""
    ridge = _HORIZON + 0.045 * np.sin(4.1 * positions[..., 0] + 0.6) + 0.02 * np.sin(11 * positions[..., 0])
    return 1 / (1 + np.exp(-(positions[..., 1] - ridge) / 0.006))


def _make_colour(rng: np.random.Generator) -> _Field:
    """Make the field of the scene's sRGB colours."""
    vectors, phases = _draw_waves(rng, 4.5)

    def colour(positions: _Floats) -> _Floats:
        noise = np.sin(positions @ vectors.T + phases).sum(axis=-1) / np.sqrt(12)
        sky = _interpolate(_SKY, 0.12 + 0.525 * positions[..., 1] / _HORIZON + 0.2 * noise)
        for x, y, radius, turn in _WHIRLS:
            away = (positions - (x, y)) / radius
            distance = np.linalg.norm(away, axis=-1)
            arms = np.sin(2 * np.arctan2(away[..., 1], away[..., 0]) + turn * 4.5 * distance)
            reach = distance + 0.35 * arms * np.minimum(distance, 1) + 0.1 * noise
            share = np.clip(2.2 - 1.3 * reach, 0, 1)[..., None]
            sky = share * _interpolate(_GLOW, reach / 1.7) + (1 - share) * sky
        depth = (positions[..., 1] - _HORIZON) / (1 - _HORIZON)
        land = _interpolate(
            _LAND, 0.15 + 0.6 * depth + 0.3 * np.sin(38 * positions[..., 1] + 4 * positions[..., 0] + noise)
        )
        share = _measure_land(positions)[..., None]
        return share * land + (1 - share) * sky

    return colour


def _interpolate(palette: tuple[str, ...], fractions: _Floats) -> _Floats:
    """Return the colours [..., 3] at fractions, 0 to 1, along a palette."""
    stops = np.array([list(bytes.fromhex(colour)) for colour in palette]) / 255
    stop_fractions = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(fractions, stop_fractions, channel) for channel in stops.T], axis=-1)


def _paint_strokes(canvas: Image.Image, brush: _Brush, flow: _Field, colour: _Field, rng: np.random.Generator) -> None:
    """Paint all strokes of one brush; each follows the flow and has the scene's colour at its middle."""
    lengths = brush.length * rng.uniform(0.5, 1.2, (brush.strokes, 1))
    widths = brush.width * rng.uniform(0.6, 1.2, brush.strokes)
    path = [rng.uniform(-0.05, 1.05, (brush.strokes, 2)) * (_WIDTH / _HEIGHT, 1)]
    for _ in range(_STEPS):
        halfway = path[-1] + lengths / (2 * _STEPS) * flow(path[-1])
        path.append(path[-1] + lengths / _STEPS * flow(halfway))
    path_SxTx2 = np.stack(path, axis=1)
    across_SxTx2 = flow(path_SxTx2)[..., ::-1] * (-1, 1)
    paint_Sx3 = colour(path_SxTx2[:, _STEPS // 2])
    paint_Sx3 += rng.normal(0, 0.035, paint_Sx3.shape) + rng.normal(0, 0.05, (brush.strokes, 1))
    for path_Tx2, across_Tx2, paint, width in zip(path_SxTx2, across_SxTx2, paint_Sx3, widths, strict=True):
        _paint_stroke(canvas, brush, path_Tx2, width * across_Tx2, paint, rng)


def _paint_stroke(
    canvas: Image.Image, brush: _Brush, path_Tx2: _Floats, across_Tx2: _Floats, paint: _Floats, rng: np.random.Generator
) -> None:
    """Paint one stroke, bristle by bristle: uneven tone, ragged round ends, and paint pushed to the sides."""
    count = brush.bristles
    offsets = np.linspace(-0.5, 0.5, count)
    tones_Bx3 = paint + rng.normal(0, 0.045, (count, 1)) + 0.05 * rng.normal() * offsets[:, None]
    thickness = 0.35 + 0.4 * np.abs(offsets) + rng.uniform(0, 0.4, count)
    fills = (np.clip(np.column_stack([tones_Bx3, thickness]), 0, 1) * 255).astype(int).tolist()
    lines_BxTx2 = (path_Tx2 + offsets[:, None, None] * across_Tx2) * _HEIGHT * _SCALE
    first = (12 * offsets**2 * rng.uniform(0, 1, count)).astype(int)
    last = _STEPS + 1 - (8 * offsets**2 + 4 * rng.uniform(0, 1, count)).astype(int)
    draw = ImageDraw.Draw(canvas)
    thick = max(1, round(1.5 * brush.width * _HEIGHT * _SCALE / count))  # so that neighbours overlap
    for line, fill, begin, end in zip(lines_BxTx2, fills, first, last, strict=True):
        draw.line(line[begin:end].ravel().tolist(), fill=tuple(fill), width=thick)


def _apply_light(layers_HxWx4: _Floats) -> _Floats:
    """Return the colours [H, W, 3] of paint lit from the upper left; the fourth channel is its thickness."""
    thickness = layers_HxWx4[..., 3:]
    shade = 1.1 * (np.gradient(thickness, axis=0) + np.gradient(thickness, axis=1))
    lit = layers_HxWx4[..., :3] * (1 + shade) + 0.25 * np.maximum(shade, 0) ** 2
    return np.clip(lit, 0, 1)


def main() -> None:
    """Paint, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the picture to write")
    images.save(parser.parse_args().out, paint().astype(np.float32))


if __name__ == "__main__":
    main()
