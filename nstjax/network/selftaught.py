"""A network that needs no file: VGG19's shape, with filters learnt in seconds from the user's own two pictures.

Layer by layer, from the picture down: cut small patches from the layer's input, whiten them, cluster their directions,
and take one cluster's centre as one filter. No labels, no gradient, no other pictures. The same pictures and seed give
the same bytes, in another process too: all chance is drawn from (seed, layer), and all is computed on the CPU. (Only
another number of cores cuts the matrix products otherwise, and so changes last bits.)

Reference: Coates and Ng, "Learning Feature Representations with K-Means", 2012, sections 2 to 4.

Differs from the paper: the patches come from two pictures, so no filter is wasted on what neither shows; the whitening
is damped far more (``_DAMPING``), which gives broad strokes in place of grain; a filter's response is standardised and
rectified, as VGG19's ReLU wants it; all channels of a layer feed the next, without receptive-field selection.
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
from nstjax.network.architecture import FLAVOURS, VGG19, Architecture, Flavour, Padding, Pooling
from nstjax.network.vgg import VGG
from nstjax.network.weights import Weights

Maps = Float[np.ndarray, "n h w c"]

_CROPS = (48, 96)
"""How many squares are cut from the pictures, and their side in pixels."""
_CROPS_FOR_BLOCK5 = (24, 192)
"""At block5 a crop of 96 is 6 positions wide: nearly all of it border."""
_ZOOMS = (0.6, 1.0)
"""Crops are shrunk by a factor drawn from this range: a filter should serve strokes of more than one size."""
_PATCHES = 12_000
_PATCHES_WIDE = 6_000
"""Of the layers with wide patches (below), which are long and go into many clusters."""
_WIDE = 1152
"""Patches longer than this are whitened across channels alone: the full matrix would cost more than all the rest."""
_DAMPING = 0.5
"""Added to every variance, in units of their mean, before whitening divides by it."""
_FLAT = 1e-4
"""Likewise, absolute: about one 8-bit step, so that a flat picture's rounding is not whitened into noise."""
_FAINTEST = 0.7
"""Patches fainter than this, in units of the median norm, are left out: flat places have no direction to cluster."""
_ROUNDS = 8
_GROUP = 8
"""Crops that go through a convolution together."""


def learn(
    content: Float[np.ndarray, "h w 3"],
    style: Float[np.ndarray, "h2 w2 3"] | Sequence[Float[np.ndarray, "h2 w2 3"]],
    *,
    seed: int,
    deepest: str = "block4_conv1",
    progress: Callable[[int, int, str], object] | None = None,
    known: Weights | None = None,
) -> Weights:
    """Learn VGG19's convolutions, down to ``deepest``, from two pictures.

    About 15 seconds on two idle CPU cores down to block4_conv1; under 2 GB.

    Args:
        content: float32 [H, W, 3] in [0, 1], in the colours in which the network will see it.
        style: float32 [H', W', 3] in [0, 1]; or several. All at the run's size: strokes are learnt at the size they
            have there.
        seed: of the crops, the patches and the first centres; 0 or more.
        deepest: the last convolution, by its canonical name.
        progress: told (layers done, layers in all, the layer that is next) before every layer, and once at the end.
        known: the first layers, kept as they are, in whose flavour the rest is learnt. None: learn all.

    Returns:
        Weights of flavour "self-taught" (or that of ``known``). Over the crops, every learnt channel that is not
        constant has mean activation 1, or that of the last known layer.

    Raises:
        UserError: no such convolution, a negative seed, or something that is not a picture.
    """
    styles = [style] if isinstance(style, np.ndarray) else [*style]
    network = known.architecture if known else VGG19
    _check(content, styles, seed, deepest, network)
    flavour = known.flavour if known else FLAVOURS["self-taught"]
    parameters = dict(known.parameters) if known else {}
    steps = network.sequence[: network.sequence.index(deepest) + 1]
    to_learn = [step for step in network.convolutions_to(deepest) if step not in parameters]
    with _on_the_cpu():
        maps = _preprocessed(_crops((*styles, content), deepest, seed), flavour)
        level = 1.0
        for step in steps if to_learn else ():
            if step.endswith("pool"):
                maps = _pooled(maps, flavour.pooling)
                continue
            if step in to_learn:
                if progress:
                    progress(to_learn.index(step), len(to_learn), step)
                generator = np.random.default_rng([seed, 1 + network.convolutions.index(step)])
                kernel = _filters(maps, network.kernel_shape(step)[-1], generator)
                maps, parameters[step] = _standardised(_convolved(maps, kernel, flavour.padding), kernel, level)
            else:
                kernel, bias = parameters[step]
                maps = np.maximum(_convolved(maps, kernel, flavour.padding) + bias, 0)
                level = float(maps.mean(dtype=np.float64))
    if progress:
        progress(len(to_learn), len(to_learn), deepest)
    origin = f"learnt from the two pictures with seed {seed}"
    source = f"{known.source}; below them, {origin}" if known else origin
    return Weights(parameters, flavour, source, architecture=network)


def _check(content: np.ndarray, styles: Sequence[np.ndarray], seed: int, deepest: str, network: Architecture) -> None:
    convolutions = network.convolutions
    if deepest not in convolutions:
        raise UserError(f"deepest is {deepest!r}: expected a convolution, {convolutions[0]} … {convolutions[-1]}")
    if seed < 0:
        raise UserError(f"the seed is {seed}: expected 0 or more")
    for name, picture in (("content", content), *(("style", it) for it in styles)):
        if picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
            raise UserError(f"the {name} picture is {[*picture.shape]}: expected [height, width, 3]")
        if not np.isfinite(picture).all():
            raise UserError(f"the {name} picture has values that are not finite")


@contextlib.contextmanager
def _on_the_cpu() -> Iterator[None]:
    """Computes on the CPU, which repeats itself to the last bit, even where JAX would take an accelerator."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # the user shut it out with JAX_PLATFORMS
        yield
        return
    with jax.default_device(cpu):
        yield


# The training crops.


def _crops(pictures: Sequence[np.ndarray], deepest: str, seed: int) -> Maps:
    """Squares of the pictures in turn, at random places and zooms, half of them mirrored."""
    count, side = _CROPS_FOR_BLOCK5 if deepest.startswith("block5") else _CROPS
    generator = np.random.default_rng([seed, 0])
    pictures = [_at_least(side, np.asarray(picture, np.float32)) for picture in pictures]
    return np.stack([_crop(pictures[i % len(pictures)], side, generator) for i in range(count)])


def _at_least(side: int, picture: np.ndarray) -> np.ndarray:
    """The picture, mirrored at its edges as often as it takes for both sides to measure ``side``."""
    missing = [max(side - length, 0) for length in picture.shape[:2]]
    return np.pad(picture, [(m // 2, m - m // 2) for m in missing] + [(0, 0)], mode="symmetric")


def _crop(picture: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    h, w, _ = picture.shape
    window = min(round(side / generator.uniform(*_ZOOMS)), h, w)
    y, x = generator.integers(h - window + 1), generator.integers(w - window + 1)
    crop = resample(picture[y : y + window, x : x + window], side, side)
    return crop[:, ::-1] if generator.random() < 0.5 else crop


def _preprocessed(crops: Maps, flavour: Flavour) -> Maps:
    return np.asarray(VGG({}, flavour).preprocess(jnp.asarray(crops)))


# One layer.


def _filters(maps: Maps, count: int, generator: np.random.Generator) -> Float[np.ndarray, "3 3 c k"]:
    """The directions in which the maps' whitened 3x3 patches cluster, as filters of the maps themselves.

    A filter is Z d, for d a cluster's unit centre and Z the (symmetric) whitening: its response to a patch is that of
    d to the whitened patch.
    """
    channels = maps.shape[-1]
    wide = 9 * channels > _WIDE
    patches = _patches(maps, _PATCHES_WIDE if wide else _PATCHES, generator)
    # One row per patch, or, for wide ones, one per tap: then every tap is whitened alike, across channels.
    rows = patches.reshape(-1, channels if wide else 9 * channels)
    rows -= rows.mean(axis=0)
    whitening = _whitening(rows)
    points = (rows @ whitening).reshape(-1, 9 * channels)
    centres_Kx9C = _spherical_kmeans(_directions(points, count, generator), count, generator)
    filters = centres_Kx9C.reshape(-1, len(whitening)) @ whitening
    return np.ascontiguousarray(filters.reshape(count, 3, 3, channels).transpose(1, 2, 3, 0))


def _patches(maps: Maps, count: int, generator: np.random.Generator) -> Float[np.ndarray, "p 3 3 c"]:
    """3x3 windows of the maps, at random places inside their borders."""
    n, h, w, _ = maps.shape
    crop, y, x = (generator.integers(size, size=(count, 1, 1)) for size in (n, h - 2, w - 2))
    tap = np.arange(3)
    return maps[crop, y + tap[:, None], x + tap]


def _whitening(rows: Float[np.ndarray, "p d"]) -> Float[np.ndarray, "d d"]:
    """``Z = U (L + damping)^-1/2 U^T`` for U L U^T the rows' covariance: ZCA, which moves the rows least."""
    covariance = (rows.T @ rows / len(rows)).astype(np.float64)
    variances, axes = np.linalg.eigh(covariance)
    damped = np.maximum(variances, 0) + _DAMPING * variances.mean() + _FLAT
    return ((axes / np.sqrt(damped)) @ axes.T).astype(np.float32)


def _directions(
    points: Float[np.ndarray, "p d"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "q d"]:
    """The stronger points on the unit sphere; random ones with them where a flat picture has fewer than ``count``."""
    norms = np.linalg.norm(points, axis=1)
    strong = norms > max(_FAINTEST * np.median(norms), 1e-6)
    directions = points[strong] / norms[strong, None]
    if (missing := count - len(directions)) > 0:
        random = generator.standard_normal((missing, points.shape[1]), np.float32)
        directions = np.concatenate([directions, random / np.linalg.norm(random, axis=1, keepdims=True)])
    return directions


def _spherical_kmeans(
    directions: Float[np.ndarray, "q d"], count: int, generator: np.random.Generator
) -> Float[np.ndarray, "k d"]:
    """Unit centres of ``count`` clusters; the nearest centre is the one of the largest product.

    Reference: Coates and Ng 2012, section 2.
    """
    centres = directions[generator.permutation(len(directions))[:count]]
    for _ in range(_ROUNDS):
        nearest = (directions @ centres.T).argmax(axis=1)
        # Sums over runs of equal ``nearest``, in an order that is always the same.
        taken, starts = np.unique(np.sort(nearest), return_index=True)
        sums = np.add.reduceat(directions[np.argsort(nearest, kind="stable")], starts)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        # A cluster without members, or whose members cancel out, keeps its centre.
        centres[taken] = np.where(norms > 1e-6, sums / np.maximum(norms, 1e-6), centres[taken])
    return centres


def _standardised(
    responses: Maps, kernel: np.ndarray, level: float
) -> tuple[Maps, tuple[Float[np.ndarray, "3 3 c k"], Float[np.ndarray, " k"]]]:
    """The output, and the layer (kernel, bias) it is of: every channel standardised, rectified, of mean ``level``."""
    mean = responses.mean(axis=(0, 1, 2), dtype=np.float64)
    deviation = _scale(responses.std(axis=(0, 1, 2), dtype=np.float64))
    maps = np.maximum((responses - mean.astype(np.float32)) / deviation.astype(np.float32), 0)
    gain = level / _scale(maps.mean(axis=(0, 1, 2), dtype=np.float64))
    maps *= gain.astype(np.float32)
    return maps, ((kernel * (gain / deviation)).astype(np.float32), (-mean * gain / deviation).astype(np.float32))


def _scale(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """What to divide by: a channel that says nothing, as on flat pictures, is left as it is rather than blown up."""
    return np.where(values > 1e-3, values, 1.0)


# Maps through the network's own convolution and pooling, a few at a time: working space for a group, not for all.


def _convolved(maps: Maps, kernel: np.ndarray, padding: Padding) -> Maps:
    prepared = convolution.prepare(kernel, precision="highest")
    return np.concatenate([_convolve(group, prepared, padding=padding) for group in _groups(maps)])


def _pooled(maps: Maps, pooling: Pooling) -> Maps:
    return np.concatenate([_pool(group, pooling=pooling) for group in _groups(maps)])


def _groups(maps: Maps) -> list[Maps]:
    return [maps[i : i + _GROUP] for i in range(0, len(maps), _GROUP)]


@partial(jax.jit, static_argnames="padding")
def _convolve(maps: Array, prepared: convolution.Prepared, *, padding: Padding) -> Array:
    return jax.vmap(lambda x: convolution.apply(x, prepared, padding=padding))(maps)


@partial(jax.jit, static_argnames="pooling")
def _pool(maps: Array, *, pooling: Pooling) -> Array:
    return jax.vmap(lambda x: convolution.pool(x, pooling))(maps)
