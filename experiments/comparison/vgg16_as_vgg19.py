"""VGG16 as a VGG19 with identity kernels in the places of the convolutions that it lacks.

Features behind a ReLU are not negative, so that both compute the same.
"""

import dataclasses

import numpy as np

from nstjax.network import weights
from nstjax.network.architecture import VGG19


def complete(network: weights.Weights) -> weights.Weights:
    """Return VGG16's weights as those of a VGG19, with identity kernels where it has no convolution."""
    if network.architecture == VGG19:
        return network
    parameters = {}
    for name in VGG19.convolutions:
        if name in network.parameters:
            parameters[name] = network.parameters[name]
        else:
            kernel = np.zeros(VGG19.kernel_shape(name), np.float32)
            kernel[1, 1] = np.eye(kernel.shape[2])
            parameters[name] = (kernel, np.zeros(kernel.shape[3], np.float32))
    source = f"{network.source}, identities in the places of further convolutions"
    return dataclasses.replace(network, parameters=parameters, source=source, architecture=VGG19, reference=None)
