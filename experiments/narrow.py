"""A VGG19 with a sixteenth of the channels, for studies of runs rather than of pictures.

Importing this module makes such weights count as a VGG19's in this process.
"""

from pathlib import Path

import numpy as np

from nstjax import architecture
from nstjax.weights import Weights, files, write


def narrow_shape(name: str) -> tuple[int, ...]:
    """A kernel's shape with a sixteenth of VGG19's channels."""
    height, width, channels_in, channels_out = architecture.kernel_shape(name)
    return height, width, channels_in if channels_in == 3 else channels_in // 16, channels_out // 16


files.kernel_shape = narrow_shape


def write_narrow_weights(path: Path) -> None:
    """Write a file of random weights of those shapes, scaled as He et al. 2015 do."""
    generator, parameters = np.random.default_rng(0), {}
    for name in architecture.CONVOLUTIONS:
        shape = narrow_shape(name)
        kernel = generator.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:3]))
        parameters[name] = (kernel.astype(np.float32), np.zeros(shape[3], np.float32))
    write(path, Weights(parameters, architecture.FLAVOURS["caffe"], "random, a sixteenth of the channels"))
