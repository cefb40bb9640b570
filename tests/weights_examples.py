"""Weights for the tests: random weights in VGG19's shapes, and the trained ones if available."""

import os
from pathlib import Path

import numpy as np
import pytest

from nstjax.network.architecture import FLAVOURS, VGG19, Architecture
from nstjax.network.weights import Weights


def make_weights(
    layers: int = 4, *, flavour: str = "torchvision", seed: int = 0, architecture: Architecture = VGG19
) -> Weights:
    """Draw random weights in the shapes of a network's first layers."""
    generator = np.random.default_rng(seed)
    parameters = {}
    for name in architecture.convolutions[:layers]:
        shape = architecture.kernel_shape(name)
        kernel = generator.standard_normal(shape, np.float32) / np.float32(30)
        parameters[name] = (kernel, generator.standard_normal(shape[3], np.float32))
    return Weights(parameters, FLAVOURS[flavour], "drawn at random", architecture=architecture)


def equal_weights(one: Weights, other: Weights) -> bool:
    """Return whether two weights have the same layers, bit for bit."""
    return list(one.parameters) == list(other.parameters) and all(
        np.array_equal(a, b)
        for name in one.parameters
        for a, b in zip(one.parameters[name], other.parameters[name], strict=True)
    )


def name_tensors(weights: Weights) -> dict[str, np.ndarray]:
    """Return the tensors of weights by their names in a file."""
    return {
        f"{name}/{part}": tensor
        for name, pair in weights.parameters.items()
        for part, tensor in zip(("kernel", "bias"), pair, strict=True)
    }


def find_real_file() -> Path:
    """Return the file of trained Caffe weights, blocks 1 to 3; skip the test if it is not available."""
    folder = os.environ.get("NSTJAX_TEST_DATA")
    if not folder:
        pytest.skip("NSTJAX_TEST_DATA is not set: no trained weights for the test")
    return Path(folder) / "weights" / "vgg19_caffe_blocks1-3.safetensors"
