"""A self-taught network, which needs no file: VGG19 with filters learnt in seconds from the user's two pictures.

Layer by layer, from the picture on: cut small patches from the input of the layer, whiten them, cluster their
directions, and use the centre of each cluster as a filter. No labels, no gradient, no other pictures. The same pictures
and seed give the same bytes, in another process too: all random numbers come from (seed, layer), and everything is
computed on the CPU. (Another number of cores may change the last bits, because it splits the matrix products
differently.)

Reference: Coates and Ng, "Learning Feature Representations with K-Means", 2012, sections 2 to 4.

Differs from the paper: the patches come from two pictures, so no filter is wasted on what neither shows; the whitening
is damped far more (``_DAMPING``), which gives broad strokes instead of grain; the response of a filter is standardised
and rectified, for VGG19's ReLU; all channels of a layer feed the next, without receptive-field selection.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from nstjax.errors import UserError
from nstjax.images import resample
from nstjax.network import convolution
from nstjax.network.architecture import FLAVOURS, VGG19, Flavour, Padding, Pooling
from nstjax.network.vgg import VGG
from nstjax.network.weights import Weights

Maps = Float[np.ndarray, "n h w c"]

_CROPS = (48, 96)
"""Number of squares that are cut from the pictures, and their side in pixels."""
_CROPS_FOR_BLOCK5 = (24, 192)
"""Number and side of the squares for block5, where 96 pixels are 6 positions, nearly all of them at the border."""
_ZOOMS = (0.6, 1.0)
"""Range of the random factor by which crops are shrunk, so that filters suit strokes of more than one size."""
_PATCHES = 12_000
"""Number of patches for a layer."""
_PATCHES_WIDE = 6_000
"""Number of patches for a layer with long patches, which also have many clusters."""
_WIDE = 1152
"""Number of values above which a patch is long. Long patches are whitened across channels alone: the full matrix would
cost more than everything else."""
_DAMPING = 0.5
"""Constant added to every variance before whitening divides by it, in units of the mean variance."""
_FLAT = 1e-4
"""Constant added to every variance, absolute: about one 8-bit step, so that the rounding of a flat picture is not
amplified to noise."""
_MIN_NORM = 0.7
"""Smallest norm of a patch that is used, in units of the median: flat places have no direction to cluster."""
_ROUNDS = 8
"""Number of iterations of k-means."""
_GROUP = 8
"""Number of crops that are convolved together."""


def learn(
    content: Float[np.ndarray, "h w 3"],
    style: Float[np.ndarray, "h2 w2 3"] | Sequence[Float[np.ndarray, "_ _ 3"]],
    *,
    seed: int,
    deepest: str = "block4_conv1",
    progress: Callable[[int, int, str], object] | None = None,
) -> Weights:
    """Learn VGG19's convolutions, up to ``deepest``, from two pictures.

    Takes about 15 seconds on two idle CPU cores and less than 2 GB for block4_conv1.

    Args:
        content: float32 [H, W, 3] in [0, 1], in the colours in which the network will see it.
        style: float32 [H', W', 3] in [0, 1], or a sequence of such pictures. Content and styles must have the size
            that they have in the run, because strokes are learnt at their size.
        seed: seed of the crops, the patches and the initial centres; 0 or more.
        deepest: the last convolution to learn, by its canonical name.
        progress: called with (layers done, layers in all, next layer) before each layer, and once at the end.

    Returns:
        Weights of flavour "self-taught". Over the crops, the mean activation of each channel that is not constant is 1.

    Raises:
        UserError: there is no such convolution, the seed is negative, or an input is not a picture.
    """
    styles = [style] if isinstance(style, np.ndarray) else [*style]
    _check(content, styles, seed, deepest)
    flavour = FLAVOURS["self-taught"]
    parameters = {}
    convolutions = VGG19.convolutions_to(deepest)
    with _use_cpu():
        maps = _preprocess(_cut_crops((*styles, content), deepest, seed), flavour)
        for step in VGG19.sequence[: VGG19.sequence.index(deepest) + 1]:
            if step.endswith("pool"):
                maps = _pool_maps(maps, flavour.pooling)
                continue
            number = convolutions.index(step)
            if progress:
                progress(number, len(convolutions), step)
            generator = np.random.default_rng([seed, 1 + number])
            kernel = _learn_filters(maps, VGG19.kernel_shape(step)[-1], generator)
            maps, parameters[step] = _standardise(_convolve_maps(maps, kernel, flavour.padding), kernel)
    if progress:
        progress(len(convolutions), len(convolutions), deepest)
    return Weights(parameters, flavour, f"learnt from the two pictures with seed {seed}")


def _check(content: np.ndarray, styles: Sequence[np.ndarray], seed: int, deepest: str) -> None:
    convolutions = VGG19.convolutions
    if deepest not in convolutions:
        raise UserError(f"deepest is {deepest!r}: expected a convolution from {convolutions[0]} to {convolutions[-1]}")
    if seed < 0:
        raise UserError(f"the seed is {seed}: expected 0 or more")
    for name, picture in (("content", content), *(("style", style) for style in styles)):
        if picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
            raise UserError(f"the {name} picture has shape {[*picture.shape]}: expected [height, width, 3]")
        if not np.isfinite(picture).all():
            raise UserError(f"the {name} picture has values that are not finite")


@contextlib.contextmanager
def _use_cpu() -> Iterator[None]:
    """Compute on the CPU, which gives the same bits each time, even if JAX has an accelerator."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # the user has excluded it with JAX_PLATFORMS
        yield
        return
    with jax.default_device(cpu):
        yield


# The training crops.


def _cut_crops(pictures: Sequence[np.ndarray], deepest: str, seed: int) -> Maps:
    """Cut squares from the pictures in turn, at random places and zooms, half of them mirrored."""
    count, side = _CROPS_FOR_BLOCK5 if deepest.startswith("block5") else _CROPS
    generator = np.random.default_rng([seed, 0])
    pictures = [_pad_to(side, np.asarray(picture, np.float32)) for picture in pictures]
    return np.stack([_cut_crop(pictures[i % len(pictures)], side, generator) for i in range(count)])


def _pad_to(side: int, picture: np.ndarray) -> np.ndarray:
    """Return the picture, mirrored at its edges until both sides have at least ``side`` pixels."""
    missing = [max(side - length, 0) for length in picture.shape[:2]]
    return np.pad(picture, [(m // 2, m - m // 2) for m in missing] + [(0, 0)], mode="symmetric")


def _cut_crop(picture: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    h, w, _ = picture.shape
    window = min(round(side / generator.uniform(*_ZOOMS)), h, w)
    y, x = generator.integers(h - window + 1), generator.integers(w - window + 1)
    crop = resample(picture[y : y + window, x : x + window], side, side)
    return crop[:, ::-1] if generator.random() < 0.5 else crop


def _preprocess(crops: Maps, flavour: Flavour) -> Maps:
    return np.asarray(VGG({}, flavour).preprocess(jnp.asarray(crops)))


# One layer.


def _learn_filters(maps: Maps, count: int, generator: np.random.Generator) -> Float[np.ndarray, "3 3 c k"]:
    """Return filters for the directions in which the whitened 3x3 patches of the maps cluster.

    A filter is Z d, for d the unit centre of a cluster and Z the (symmetric) whitening: its response to a patch equals
    that of d to the whitened patch.
    """
    channels = maps.shape[-1]
    wide = 9 * channels > _WIDE
    patches = _sample_patches(maps, _PATCHES_WIDE if wide else _PATCHES, generator)
    # One row for each patch, or for each tap of long patches: every tap is then whitened in the same way.
    rows = patches.reshape(-1, channels if wide else 9 * channels)
    rows -= rows.mean(axis=0)
    whitening = _compute_whitening(rows)
    points = (rows @ whitening).reshape(-1, 9 * channels)
    centres_Kx9C = _spherical_kmeans(_select_directions(points, count, generator), count, generator)
    filters = centres_Kx9C.reshape(-1, len(whitening)) @ whitening
    return np.ascontiguousarray(filters.reshape(count, 3, 3, channels).transpose(1, 2, 3, 0))


def _sample_patches(maps: Maps, count: int, generator: np.random.Generator) -> Float[np.ndarray, "p 3 3 c"]:
    """Return 3x3 windows of the maps, at random places inside their borders."""
    n, h, w, _ = maps.shape
    crop, y, x = (generator.integers(size, size=(count, 1, 1)) for size in (n, h - 2, w - 2))
    tap = np.arange(3)
    return maps[crop, y + tap[:, None], x + tap]


def _compute_whitening(rows: Float[np.ndarray, "p d"]) -> Float[np.ndarray, "d d"]:
    """Return the ZCA whitening ``Z = U (L + damping)^-1/2 U^T``, for U L U^T the covariance of the rows."""
    covariance = (rows.T @ rows / len(rows)).astype(np.float64)
    variances, axes = np.linalg.eigh(covariance)
    damped = np.maximum(variances, 0) + _DAMPING * variances.mean() + _FLAT
    return ((axes / np.sqrt(damped)) @ axes.T).astype(np.float32)


def _select_directions(
    points: Float[np.ndarray, "p d"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "q d"]:
    """Return the stronger points on the unit sphere, and random ones if a flat picture has fewer than ``count``."""
    norms = np.linalg.norm(points, axis=1)
    strong = norms > max(_MIN_NORM * np.median(norms), 1e-6)
    directions = points[strong] / norms[strong, None]
    if (missing := count - len(directions)) > 0:
        random = generator.standard_normal((missing, points.shape[1]), np.float32)
        directions = np.concatenate([directions, random / np.linalg.norm(random, axis=1, keepdims=True)])
    return directions


def _spherical_kmeans(
    directions: Float[np.ndarray, "q d"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "k d"]:
    """Return the unit centres of ``count`` clusters; the nearest centre is the one with the largest product.

    Reference: Coates and Ng 2012, section 2.
    """
    centres = directions[generator.permutation(len(directions))[:count]]
    for _ in range(_ROUNDS):
        nearest = (directions @ centres.T).argmax(axis=1)
        # Sum over the members of each cluster in an order that is always the same.
        used, starts = np.unique(np.sort(nearest), return_index=True)
        sums = np.add.reduceat(directions[np.argsort(nearest, kind="stable")], starts)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        # A cluster without members, or whose members cancel out, keeps its centre.
        centres[used] = np.where(norms > 1e-6, sums / np.maximum(norms, 1e-6), centres[used])
    return centres


def _standardise(
    responses: Maps, kernel: np.ndarray
) -> tuple[Maps, tuple[Float[np.ndarray, "3 3 c_in c"], Float[np.ndarray, " c"]]]:
    """Standardise each channel, rectify it, and scale it to mean 1.

    Returns:
        (maps, (kernel, bias)): the output, and the layer that yields it.
    """
    mean = responses.mean(axis=(0, 1, 2), dtype=np.float64)
    deviation = _replace_tiny(responses.std(axis=(0, 1, 2), dtype=np.float64))
    maps = np.maximum((responses - mean.astype(np.float32)) / deviation.astype(np.float32), 0)
    gain = 1 / _replace_tiny(maps.mean(axis=(0, 1, 2), dtype=np.float64))
    maps *= gain.astype(np.float32)
    return maps, ((kernel * (gain / deviation)).astype(np.float32), (-mean * gain / deviation).astype(np.float32))


def _replace_tiny(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Replace tiny divisors by 1, so that a constant channel, as on flat pictures, is not amplified."""
    return np.where(values > 1e-3, values, 1.0)


# The network's convolution and pooling, applied to a few maps at a time to bound the memory.


def _convolve_maps(maps: Maps, kernel: np.ndarray, padding: Padding) -> Float[np.ndarray, "n h w k"]:
    prepared = convolution.prepare(kernel, precision="highest")
    return np.concatenate([_convolve(group, prepared, padding=padding) for group in _split_groups(maps)])


def _pool_maps(maps: Maps, pooling: Pooling) -> Float[np.ndarray, "n h//2 w//2 c"]:
    return np.concatenate([_pool(group, pooling=pooling) for group in _split_groups(maps)])


def _split_groups(maps: Maps) -> list[Float[np.ndarray, "_ h w c"]]:
    return [maps[i : i + _GROUP] for i in range(0, len(maps), _GROUP)]


@partial(jax.jit, static_argnames="padding")
def _convolve(maps: Array, prepared: convolution.Prepared, *, padding: Padding) -> Array:
    return jax.vmap(lambda x: convolution.apply(x, prepared, padding=padding))(maps)


@partial(jax.jit, static_argnames="pooling")
def _pool(maps: Array, *, pooling: Pooling) -> Array:
    return jax.vmap(lambda x: convolution.pool(x, pooling))(maps)
