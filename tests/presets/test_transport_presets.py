"""The presets of transport and of nearest neighbours against their formulas, in float64 NumPy.

Directions and positions are drawn as the package draws them; all that follows is written without it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import features64, narrow_vgg19, random_parameters, smooth_picture

from nstjax.experiment.experiment import load
from nstjax.network.architecture import FLAVOURS
from nstjax.objective import Objective

PICTURE, CONTENT, STYLE = smooth_picture(48, 64), smooth_picture(48, 64, seed=1), smooth_picture(40, 56, seed=2)
KEY = jax.random.key(5)


def maps(flavour, **options):
    """{layer: map} of the picture, the content and the style; "input" is the picture itself."""
    weights, flavour = random_parameters(), FLAVOURS[flavour]
    return [
        {"input": np.float64(it), **features64(weights, flavour, it, **options)} for it in (PICTURE, CONTENT, STYLE)
    ]


def rows(features):
    return features.reshape(-1, features.shape[-1])


def unit(x):
    return x / np.sqrt((x**2).sum(axis=1, keepdims=True))


def mse(x, t):
    return np.mean((x - t) ** 2)


def patches(F):
    """Each of 3x3 positions, two from the next."""
    h, w, _ = F.shape
    return np.array([F[i : i + 3, j : j + 3].ravel() for i in range(0, h - 2, 2) for j in range(0, w - 2, 2)])


def li_wand():
    x, c, s = maps("caffe")

    def field(x, t):
        nearest = np.argmax(x @ unit(t).T, axis=1)
        return np.sum((x - t[nearest]) ** 2) / 2

    down, across = (255 * np.diff(np.float64(PICTURE), axis=axis) for axis in (0, 1))
    return {
        "content": (20, mse(x["block4_conv1"], c["block4_conv1"])),
        "style": (1e-4, sum(field(patches(x[it]), patches(s[it])) for it in ("block3_conv1", "block4_conv1"))),
        "tv": (1e-3, ((down[:, :-1] ** 2).sum() + (across[:-1] ** 2).sum()) / 2),
    }


def sliced_wasserstein():
    x, _, s = maps("caffe", pooling="average")
    layers = [f"block{b}_conv{i}" for b, count in ((1, 2), (2, 2), (3, 4), (4, 4)) for i in range(1, count + 1)]
    total = 0
    for layer, key in zip(layers, jax.random.split(jax.random.fold_in(KEY, 0), 12), strict=True):
        of_x, of_s = rows(x[layer]), rows(s[layer])
        V = unit(np.float64(jax.random.normal(key, (of_x.shape[1],) * 2, jnp.float32)))
        a, b = np.sort(of_x @ V.T, axis=0), np.sort(of_s @ V.T, axis=0)
        # As many copies of each as make them equally many, and of the style's the mean of each share.
        many = np.lcm(len(a), len(b))
        b = np.repeat(b, many // len(b), axis=0).reshape(len(a), many // len(a), -1).mean(axis=1)
        total += mse(a, b)
    return {"style": (1, total)}


def columns(features, layers, at):
    """Bilinear between the centres of positions."""
    found = []
    for F in (features[it] for it in layers):
        h, w, _ = F.shape
        y, x = np.clip(at[:, :1] * h - 0.5, 0, h - 1), np.clip(at[:, 1:] * w - 0.5, 0, w - 1)
        down, across = (np.maximum(0, 1 - np.abs(it - np.arange(n))) for it, n in ((y, h), (x, w)))
        found.append(np.einsum("nh,nw,hwc->nc", down, across, F, optimize=True))
    return np.concatenate(found, axis=1)


def strotss():
    x, c, s = maps("torchvision")
    blocks = ((1, (1, 2)), (2, (1, 2)), (3, (1, 2, 3)), (4, (3,)), (5, (3,)))
    layers = ["input", *(f"block{b}_conv{i}" for b, each in blocks for i in each)]

    def drawn(term):
        key_x, key_s, _ = jax.random.split(jax.random.fold_in(KEY, term), 3)
        return (np.float64(jax.random.uniform(k, (n, 2))) for k, n in ((key_x, 1024), (key_s, 5000)))

    def pair(term, layers):
        at_x, at_s = drawn(term)
        return columns(x, layers, at_x), columns(s, layers, at_s)

    def cosine(a, b):
        return 1 - unit(a) @ unit(b).T

    def least(D):
        return max(D.min(axis=0).mean(), D.min(axis=1).mean())

    at, _ = drawn(0)
    D_x, D_c = (cosine(it, it) for it in (columns(x, layers, at), columns(c, layers, at)))
    content = 1024 * np.abs(D_x / D_x.sum(axis=0) - D_c / D_c.sum(axis=0)).mean()
    a, b = pair(2, layers)
    moments = np.abs(a.mean(0) - b.mean(0)).mean() + np.abs(np.cov(a.T, bias=True) - np.cov(b.T, bias=True)).mean()
    p, q = pair(3, ["input"])
    apart = np.sqrt(((p[:, None] - q[None]) ** 2).mean(axis=2))
    alpha = 1024 / 64
    return {
        "content": (1, alpha / (alpha + 2) * content),
        "style": (1, least(cosine(*pair(1, layers))) / (alpha + 2)),
        "moments": (1, moments / (alpha + 2)),
        "palette": (1, least(cosine(p, q) + apart) / (alpha + 2) / alpha),
    }


def nnst():
    x, _, s = maps("torchvision")
    layers = [f"block{b}_conv{i}" for b, count in ((1, 2), (2, 2), (3, 3), (4, 3)) for i in range(1, count + 1)]

    def centred(features):
        h, w, _ = features["input"].shape
        i, j = np.meshgrid(np.arange(h // 4), np.arange(w // 4), indexing="ij")
        at = np.stack([(i.ravel() + 0.5) / (h // 4), (j.ravel() + 0.5) / (w // 4)], axis=1)
        over = np.repeat([1 / features[it].shape[-1] for it in layers], [features[it].shape[-1] for it in layers])
        vectors = columns(features, layers, at) * over
        return unit(vectors - vectors.mean(axis=0))

    return {"style": (1, np.mean(1 - (centred(x) @ centred(s).T).max(axis=1)))}


@pytest.mark.parametrize("reference", [li_wand, sliced_wasserstein, strotss, nnst])
def test_terms_and_weights_are_the_sources(reference):
    preset = reference.__name__.replace("_", "-")
    experiment, expected = load(preset), reference()
    weights = experiment.config.loss_weights
    assert weights == {name: weight for name, (weight, _) in expected.items()}
    flavour = "caffe" if preset in ("li-wand", "sliced-wasserstein") else "torchvision"
    network = narrow_vgg19(flavour=flavour, pooling=experiment.config.pooling, precision="highest")
    objective = Objective(tuple(experiment.terms(experiment.config)))
    targets = objective.targets(network, content=jnp.asarray(CONTENT), style=jnp.asarray(STYLE))

    @jax.jit
    def evaluate(x):
        return jax.value_and_grad(
            lambda x: objective(x, network=network, targets=targets, weights=weights, key=KEY), has_aux=True
        )(x)

    (_, found), gradient = evaluate(jnp.asarray(PICTURE))
    assert jnp.isfinite(gradient).all() and jnp.any(gradient != 0)
    for name, (_, value) in expected.items():
        # Differences of like float32 features: their relative error of 1e-6 is amplified.
        np.testing.assert_allclose(found[name], value, rtol=1e-4)
