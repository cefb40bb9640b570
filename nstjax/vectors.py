"""Statistics that turn maps into a set of vectors: of every position, of patches, of all layers at once."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nstjax.arguments import Counts
from nstjax.errors import UserError
from nstjax.types import FeatureMap, Features


def feature_vectors(features_HxWxC: FeatureMap) -> Float[Array, "n c"]:
    """Return the feature vectors of all positions, F^T [N, C], row by row of the map."""
    return features_HxWxC.reshape(-1, features_HxWxC.shape[-1])


@dataclass(frozen=True)
class Patches(Counts):
    """The square patches of a feature map, each a vector of ``size * size * C`` numbers.

    Only patches that lie completely inside the map are taken.

    Args:
        size: side of a patch, in positions.
        stride: step from one patch to the next, in positions.

    Reference: Li and Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis",
    2016.
    """

    size: int = 3
    stride: int = 2

    def __call__(self, features_HxWxC: FeatureMap) -> Float[Array, "m k"]:
        """Return the patches of a map, [M, size * size * C], row by row.

        Raises:
            UserError: the map is smaller than a patch.
        """
        (h, w, c), size, stride = features_HxWxC.shape, self.size, self.stride
        if min(h, w) < size:
            raise UserError(
                f"a map of {w}x{h} positions has no patch of {size}x{size}: use a larger picture or a layer less deep"
            )
        rows, columns = (h - size) // stride + 1, (w - size) // stride + 1
        shifted = [
            features_HxWxC[i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
            for i in range(size)
            for j in range(size)
        ]
        return jnp.stack(shifted, axis=2).reshape(rows * columns, size * size * c)


@dataclass(frozen=True)
class Hypercolumns(Counts):
    """The hypercolumns of a term: at each position the feature vectors of all layers, one after the other.

    A statistic of a whole term. Its maps are resized to one size by bilinear interpolation between their four corners,
    and each is divided by its number of channels.

    Args:
        stride: step from one hypercolumn to the next, in positions of the term's largest map.

    Reference: Kolkin et al., "Neural Neighbor Style Transfer", 2022.
    """

    stride: int = 4

    def __call__(self, features: Features) -> Float[Array, "n k"]:
        """Return the hypercolumns of a term's features, [N, sum of C]."""
        h, w = (max(sides) for sides in zip(*(F.shape[:2] for F in features.values()), strict=True))
        size = max(h // self.stride, 1), max(w // self.stride, 1)
        maps = [_interpolate(_interpolate(F, size[0], 0), size[1], 1) / F.shape[-1] for F in features.values()]
        return jnp.concatenate(maps, axis=-1).reshape(size[0] * size[1], -1)


def _interpolate(F: Array, count: int, axis: int) -> Array:
    """Read a map at equal distances along one axis, from its first position to its last."""
    at = np.linspace(0, F.shape[axis] - 1, count)
    before, share = at.astype(int), jnp.asarray(at % 1, F.dtype).reshape((-1, 1) if axis else (-1, 1, 1))
    after = np.minimum(before + 1, F.shape[axis] - 1)
    return (1 - share) * jnp.take(F, before, axis) + share * jnp.take(F, after, axis)
