"""A VGG19 with a sixteenth of the channels, for studies of runs, not of pictures."""

from pathlib import Path

import numpy as np

from nstjax.network.architecture import FLAVOURS, VGG19, Architecture
from nstjax.network.weights import Weights, write

NARROW = Architecture("narrow VGG19", tuple((count, channels // 16) for count, channels in VGG19.blocks))


def make_narrow_weights() -> Weights:
    """Return random weights of the narrow network, scaled as in He et al. 2015."""
    generator, parameters = np.random.default_rng(0), {}
    for name in NARROW.convolutions:
        shape = NARROW.kernel_shape(name)
        kernel = generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:3]))
        parameters[name] = (kernel.astype(np.float32), np.zeros(shape[3], np.float32))
    return Weights(parameters, FLAVOURS["caffe"], "random", architecture=NARROW)


def write_narrow_weights(path: Path) -> None:
    """Write a file of the narrow network's weights."""
    write(path, make_narrow_weights())
