"""What references and tests are both given: pictures, and the weights of a narrow VGG19. Data only, from NumPy alone.

``RandomState`` draws the same numbers in every version of NumPy.
"""

import numpy as np

CHANNELS = (4, 8, 16, 32, 32)
"""Of each block: a sixteenth of VGG19's own, at least."""

DEPTHS = (2, 2, 4, 4, 2)
"""Convolutions of each block, down to the deepest that a preset looks at."""


GAINS = {"block1_conv2": 3.0, "block3_conv1": 2.4}
"""What makes deep layers count beside the first, so that none can be wrong unseen."""


def parameters():
    """{"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}, float32: He weights, but for ``GAINS``."""
    generator, found, channels_in = np.random.RandomState(0), {}, 3
    for block, (channels, depth) in enumerate(zip(CHANNELS, DEPTHS, strict=True), 1):
        for index in range(1, depth + 1):
            kernel = generator.standard_normal((3, 3, channels_in, channels)) * np.sqrt(2 / (9 * channels_in))
            kernel *= GAINS.get(f"block{block}_conv{index}", 1.0)
            bias = 0.1 * generator.standard_normal(channels)
            found[f"block{block}_conv{index}"] = (kernel.astype(np.float32), bias.astype(np.float32))
            channels_in = channels
    return found


def picture(height, width, seed):
    """Waves and a little noise, [H, W, 3] float32 within (0, 1)."""
    generator = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / 12
    waves = np.stack(
        [sum(np.sin(a * x + b * y + c) for a, b, c in generator.uniform(-3, 3, (3, 3))) for _ in range(3)], axis=-1
    )
    return (0.5 + 0.12 * waves + generator.uniform(-0.04, 0.04, waves.shape)).astype(np.float32)


def pictures(*, style_of_one_size=False):
    """The picture, the content and the style of a comparison.

    Their sides are multiples of 16, which every rounding of pooling halves alike: some systems keep an odd last row.

    Args:
        style_of_one_size: whether the style has the content's size.
    """
    return picture(32, 48, 1), picture(32, 48, 2), picture(*((32, 48) if style_of_one_size else (48, 32)), 3)


def directions(shape):
    """Eight directions [8, H, W, 3] along which gradients are compared; slopes are as large as the gradient's norm."""
    return np.random.RandomState(4).standard_normal((8, *shape))
