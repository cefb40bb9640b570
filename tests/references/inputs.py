"""Inputs that references and tests share: pictures, and the weights of a narrow VGG19. Data only, from NumPy alone.

``RandomState`` draws the same numbers in every version of NumPy.
"""

import numpy as np

CHANNELS = (4, 8, 16, 32, 32)
"""Channels of each block, at least a sixteenth of VGG19's."""

DEPTHS = (2, 2, 4, 4, 2)
"""Convolutions of each block, down to the deepest that a preset uses."""


GAINS = {"block1_conv2": 3.0, "block3_conv1": 2.4}
"""Factors on some kernels, so that deep layers contribute enough for a test to detect an error in any of them."""


def parameters():
    """Return {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}, float32: He weights times ``GAINS``."""
    generator, weights, channels_in = np.random.RandomState(0), {}, 3
    for block, (channels, depth) in enumerate(zip(CHANNELS, DEPTHS, strict=True), 1):
        for index in range(1, depth + 1):
            kernel = generator.standard_normal((3, 3, channels_in, channels)) * np.sqrt(2 / (9 * channels_in))
            kernel *= GAINS.get(f"block{block}_conv{index}", 1.0)
            bias = 0.1 * generator.standard_normal(channels)
            weights[f"block{block}_conv{index}"] = (kernel.astype(np.float32), bias.astype(np.float32))
            channels_in = channels
    return weights


def picture(height, width, seed):
    """Return waves with a little noise, [H, W, 3] float32 within (0, 1)."""
    generator = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / 12
    waves = np.stack(
        [sum(np.sin(a * x + b * y + c) for a, b, c in generator.uniform(-3, 3, (3, 3))) for _ in range(3)], axis=-1
    )
    return (0.5 + 0.12 * waves + generator.uniform(-0.04, 0.04, waves.shape)).astype(np.float32)


def pictures(*, style_of_one_size=False):
    """Return the picture, the content and the style of a comparison.

    Their sides are multiples of 16, so that it does not matter how pooling rounds: some systems keep an odd last row.

    Args:
        style_of_one_size: whether the style has the content's size.
    """
    return picture(32, 48, 1), picture(32, 48, 2), picture(*((32, 48) if style_of_one_size else (48, 32)), 3)


def directions(shape):
    """Draw eight directions [8, H, W, 3] to compare gradients along; a slope is about as large as the gradient."""
    return np.random.RandomState(4).standard_normal((8, *shape))
