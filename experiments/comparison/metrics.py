"""Scores of a picture: distances to a style and to a content by the first three blocks of the real VGG19, and SSIM.

Style: at each of the eight convolutions, ``|G(x) - G(t)|`` of Gram matrices and the sliced Wasserstein distance of
features, as fractions of the photograph's distances. Content: ``|F(x) - F(c)|`` at block3_conv4, as a fraction of the
painting's distance. So the photograph has style 1 and content 0, the painting style 0 and content 1. SSIM, of
luminance, is 1 for the photograph, and LPIPS, a perceptual distance, is 0. No score says whether a picture is good.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from skimage.metrics import structural_similarity

from nstjax import images, losses, statistics
from nstjax.network.architecture import VGG19
from nstjax.network.vgg import VGG

CONTENT_LAYER = "block3_conv4"
LAYERS = VGG19.convolutions_to(CONTENT_LAYER)
"""Layers of the style distances."""
_TRANSPORT = losses.SlicedWasserstein(directions=32)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


PerceptualDistance: TypeAlias = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Score:
    """The scores of one picture.

    Args:
        gram: {layer: distance of Gram matrices}, as fractions of the photograph's.
        sliced: {layer: sliced Wasserstein distance}, as fractions of the photograph's.
        content: distance of features, as a fraction of the painting's.
        ssim: structural similarity to the photograph.
        lpips: perceptual distance from the photograph.
    """

    gram: dict[str, float]
    sliced: dict[str, float]
    content: float
    ssim: float
    lpips: float

    @property
    def style(self) -> float:
        """The style distance: the mean over all layers and both distances."""
        return float(np.mean([*self.gram.values(), *self.sliced.values()]))

    @property
    def sum(self) -> float:
        """The sum of style and content distance: 1 for the photograph and the painting, less if near both."""
        return self.style + self.content


class Scorer:
    """A scorer of pictures made of one photograph and one painting.

    Args:
        network: a trained VGG19, at least down to CONTENT_LAYER.
        content: the photograph, float32 [H, W, 3] in [0, 1].
        style: the painting, float32 [H', W', 3] in [0, 1], at the size that gives the wanted size of strokes.
        lpips: the perceptual distance of two pictures.
    """

    def __init__(self, network: VGG, content: np.ndarray, style: np.ndarray, lpips: PerceptualDistance):
        self._network, self._lpips = network, lpips
        self._content, self._style = content, style
        painting = images.resample(style, *content.shape[:2])
        self._photograph_distances = _distances(self._network, content, content, style)
        self._painting_distances = _distances(self._network, painting, content, style)

    def score(self, picture: np.ndarray) -> Score:
        """Score a picture [h, w, 3], which is resized to the photograph's size first."""
        picture = images.resample(picture, *self._content.shape[:2])
        gram, sliced, content = _distances(self._network, picture, self._content, self._style)
        return Score(
            gram=_divide(gram, self._photograph_distances[0]),
            sliced=_divide(sliced, self._photograph_distances[1]),
            content=float(content / self._painting_distances[2]),
            ssim=ssim(picture, self._content),
            lpips=self._lpips(picture, self._content),
        )


def ssim(picture: np.ndarray, other: np.ndarray) -> float:
    """Return the structural similarity of luminance, with the Gaussian window of Wang et al. 2004."""
    a, b = picture @ _LUMINANCE, other @ _LUMINANCE
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.asarray(structural_similarity(a, b, data_range=1.0, **options)).item()


@jax.jit
def _distances(
    network: VGG, picture: jax.Array, content: jax.Array, style: jax.Array
) -> tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
    """Return the distances of Gram matrices and sliced Wasserstein by layer, and of features at CONTENT_LAYER."""
    F, T = network.features(picture, LAYERS), network.features(style, LAYERS)
    gram = {layer: jnp.linalg.norm(statistics.gram(F[layer]) - statistics.gram(T[layer])) for layer in LAYERS}
    vectors = statistics.feature_vectors
    # The same directions for every picture.
    sliced = {layer: _TRANSPORT(vectors(F[layer]), vectors(T[layer]), jax.random.key(0)) ** 0.5 for layer in LAYERS}
    P = network.features(content, [CONTENT_LAYER])[CONTENT_LAYER]
    return gram, sliced, jnp.linalg.norm(F[CONTENT_LAYER] - P)


def _divide(distances: dict[str, jax.Array], by: dict[str, jax.Array]) -> dict[str, float]:
    return {layer: float(distance / by[layer]) for layer, distance in distances.items()}
