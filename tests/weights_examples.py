"""Weights for the tests: random ones in VGG19's shapes, and the real ones where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from nstjax.network.architecture import FLAVOURS, VGG19, Architecture
from nstjax.network.weights import Weights


def make(
    layers: int = 4, *, flavour: str = "torchvision", seed: int = 0, architecture: Architecture = VGG19
) -> Weights:
    """Random weights in a network's shapes for its first layers."""
    draw = np.random.default_rng(seed)
    parameters = {}
    for name in architecture.convolutions[:layers]:
        shape = architecture.kernel_shape(name)
        kernel = draw.standard_normal(shape, np.float32) / np.float32(30)
        parameters[name] = (kernel, draw.standard_normal(shape[3], np.float32))
    return Weights(parameters, FLAVOURS[flavour], "drawn at random", architecture=architecture)


def same(one: Weights, other: Weights) -> bool:
    """Whether two weights hold the same layers, bit for bit."""
    return list(one.parameters) == list(other.parameters) and all(
        np.array_equal(a, b)
        for name in one.parameters
        for a, b in zip(one.parameters[name], other.parameters[name], strict=True)
    )


def tensors_of(weights: Weights) -> dict[str, np.ndarray]:
    """The tensors by their names in a file."""
    return {
        f"{name}/{what}": tensor
        for name, pair in weights.parameters.items()
        for what, tensor in zip(("kernel", "bias"), pair, strict=True)
    }


def real_file() -> Path:
    """The file of trained Caffe weights, blocks 1 to 3; skips the test where there is none."""
    folder = os.environ.get("NSTJAX_TEST_DATA")
    if not folder:
        pytest.skip("NSTJAX_TEST_DATA is not set: no trained weights to test with")
    return Path(folder) / "weights" / "vgg19_caffe_blocks1-3.safetensors"
