"""How near a picture is to a style and to a content: by the first three blocks of the real VGG19, and by SSIM.

Style: at each of the eight convolutions, ``|G(x) - G(t)|`` of Gram matrices and the sliced Wasserstein distance of
features, as fractions of what the photograph has itself. Content: ``|F(x) - F(c)|`` at block3_conv4, as a fraction of
what the painting has itself. So the photograph has 1 and 0, the painting 0 and 1; what is half of both is near to both.
SSIM, of luminance, is 1 for the photograph. None of them says whether a picture is good.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from skimage.metrics import structural_similarity

from nstjax import images, losses, statistics
from nstjax.network.architecture import VGG19
from nstjax.network.vgg import VGG

CONTENT_LAYER = "block3_conv4"
LAYERS = VGG19.convolutions_to(CONTENT_LAYER)
"""By which style is judged."""
_TRANSPORT = losses.SlicedWasserstein(directions=32)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Score:
    """Of one picture.

    Args:
        gram: {layer: distance of Gram matrices}, as a fraction of the photograph's.
        sliced: {layer: sliced Wasserstein distance}, likewise.
        content: distance of features, as a fraction of the painting's.
        ssim: structural similarity to the photograph.
    """

    gram: dict[str, float]
    sliced: dict[str, float]
    content: float
    ssim: float

    @property
    def style(self) -> float:
        """The mean over all layers and both distances."""
        return float(np.mean([*self.gram.values(), *self.sliced.values()]))

    @property
    def sum(self) -> float:
        """Of style and content: 1 for the photograph, and for the painting; the less, the nearer to both."""
        return self.style + self.content


class Judge:
    """Judges pictures made of one photograph and one painting.

    Args:
        network: a trained VGG19, at least down to CONTENT_LAYER.
        content: the photograph, float32 [H, W, 3] in [0, 1].
        style: the painting, float32 [H', W', 3], at the size at which its strokes are wanted.
    """

    def __init__(self, network: VGG, content: np.ndarray, style: np.ndarray):
        self._network = network
        self._content, self._style = content, style
        painting = images.resample(style, *content.shape[:2])
        self._of_photograph = _distances(self._network, content, content, style)
        self._of_painting = _distances(self._network, painting, content, style)

    def score(self, picture: np.ndarray) -> Score:
        """Of a picture [h, w, 3], which is brought to the photograph's size first."""
        picture = images.resample(picture, *self._content.shape[:2])
        gram, sliced, content = _distances(self._network, picture, self._content, self._style)
        return Score(
            gram=_fractions(gram, self._of_photograph[0]),
            sliced=_fractions(sliced, self._of_photograph[1]),
            content=float(content / self._of_painting[2]),
            ssim=ssim(picture, self._content),
        )


def ssim(picture: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of luminance, with the Gaussian window of Wang et al. 2004."""
    a, b = picture @ _LUMINANCE, other @ _LUMINANCE
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.asarray(structural_similarity(a, b, data_range=1.0, **options)).item()


@jax.jit
def _distances(
    network: VGG, picture: jax.Array, content: jax.Array, style: jax.Array
) -> tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array]:
    """(of Gram matrices at each layer, sliced Wasserstein at each layer, of features at CONTENT_LAYER)."""
    F, T = network.features(picture, LAYERS), network.features(style, LAYERS)
    gram = {it: jnp.linalg.norm(statistics.gram(F[it]) - statistics.gram(T[it])) for it in LAYERS}
    vectors = statistics.feature_vectors
    # The same directions for every picture.
    sliced = {it: _TRANSPORT(vectors(F[it]), vectors(T[it]), jax.random.key(0)) ** 0.5 for it in LAYERS}
    P = network.features(content, [CONTENT_LAYER])[CONTENT_LAYER]
    return gram, sliced, jnp.linalg.norm(F[CONTENT_LAYER] - P)


def _fractions(found: dict[str, jax.Array], of: dict[str, jax.Array]) -> dict[str, float]:
    return {layer: float(value / of[layer]) for layer, value in found.items()}
