"""Presets of optimal transport and nearest neighbours compared with their formulas, in NumPy in float64.

Directions and positions are drawn as in the package; everything else is written without it.
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
START = smooth_picture(48, 64, seed=3)
KEY = jax.random.key(5)


def compute_features(flavour, **options):
    """Return {layer: feature map} of the picture, the content and the style; "input" is the picture itself."""
    weights, flavour = random_parameters(), FLAVOURS[flavour]
    return [
        {"input": np.float64(picture), **features64(weights, flavour, picture, **options)}
        for picture in (PICTURE, CONTENT, STYLE)
    ]


def rows(features):
    return features.reshape(-1, features.shape[-1])


def unit(x):
    return x / np.sqrt((x**2).sum(axis=1, keepdims=True))


def mse(x, t):
    return np.mean((x - t) ** 2)


def patches(F):
    """Return the 3x3 patches, with stride 2, as rows."""
    h, w, _ = F.shape
    return np.array([F[i : i + 3, j : j + 3].ravel() for i in range(0, h - 2, 2) for j in range(0, w - 2, 2)])


def li_wand():
    x, c, s = compute_features("caffe")

    def field(x, t):
        nearest = np.argmax(x @ unit(t).T, axis=1)
        return np.sum((x - t[nearest]) ** 2) / 2

    down, across = (255 * np.diff(np.float64(PICTURE), axis=axis) for axis in (0, 1))
    return {
        "content": (20, mse(x["block4_conv1"], c["block4_conv1"])),
        "style": (1e-4, sum(field(patches(x[n]), patches(s[n])) for n in ("block3_conv1", "block4_conv1"))),
        "tv": (1e-3, ((down[:, :-1] ** 2).sum() + (across[:-1] ** 2).sum()) / 2),
    }


def sliced_wasserstein():
    x, _, s = compute_features("caffe", pooling="average")
    layers = [f"block{b}_conv{i}" for b, count in ((1, 2), (2, 2), (3, 4), (4, 4)) for i in range(1, count + 1)]
    total = 0
    for layer, key in zip(layers, jax.random.split(jax.random.fold_in(KEY, 0), 12), strict=True):
        X, S = rows(x[layer]), rows(s[layer])
        V = unit(np.float64(jax.random.normal(key, (X.shape[1],) * 2, jnp.float32)))
        a, b = np.sort(X @ V.T, axis=0), np.sort(S @ V.T, axis=0)
        # The style's values are repeated up to a common multiple, then averaged in groups, one for each value of a.
        multiple = np.lcm(len(a), len(b))
        b = np.repeat(b, multiple // len(b), axis=0).reshape(len(a), multiple // len(a), -1).mean(axis=1)
        total += mse(a, b)
    return {"style": (1, total)}


def read_hypercolumns(features, layers, at):
    """Return hypercolumns at positions, interpolated bilinearly between the centres of the layers' positions."""
    columns = []
    for F in (features[layer] for layer in layers):
        h, w, _ = F.shape
        y, x = np.clip(at[:, :1] * h - 0.5, 0, h - 1), np.clip(at[:, 1:] * w - 0.5, 0, w - 1)
        down, across = (np.maximum(0, 1 - np.abs(p - np.arange(n))) for p, n in ((y, h), (x, w)))
        columns.append(np.einsum("nh,nw,hwc->nc", down, across, F, optimize=True))
    return np.concatenate(columns, axis=1)


def strotss():
    x, c, s = compute_features("torchvision")
    blocks = ((1, (1, 2)), (2, (1, 2)), (3, (1, 2, 3)), (4, (3,)), (5, (3,)))
    layers = ["input", *(f"block{b}_conv{i}" for b, indices in blocks for i in indices)]

    def draw_positions(key, count, picture):
        sides = picture.shape[:2]
        return (np.float64(jax.random.randint(key, (count, 2), 0, jnp.array(sides))) + 0.5) / sides

    def draw_in_picture(term):
        return draw_positions(jax.random.split(jax.random.fold_in(KEY, term), 3)[0], 1024, PICTURE)

    def read_both(term, layers):
        at = draw_positions(jax.random.key(0), 5000, STYLE)
        nearest = [s[n][tuple((at * s[n].shape[:2]).astype(int).T)] for n in layers]
        return read_hypercolumns(x, layers, draw_in_picture(term)), np.concatenate(nearest, axis=1)

    def cosine(a, b):
        return 1 - unit(a) @ unit(b).T

    def relaxed_cost(D):
        return max(D.min(axis=0).mean(), D.min(axis=1).mean())

    at = draw_in_picture(0)
    X, C = read_hypercolumns(x, layers, at), read_hypercolumns(c, layers, at)
    D_x, D_c = cosine(X, X), cosine(C, C)
    content = 1024 * np.abs(D_x / D_x.sum(axis=0) - D_c / D_c.sum(axis=0)).mean()
    a, b = read_both(2, layers)
    moments = np.abs(a.mean(0) - b.mean(0)).mean() + np.abs(np.cov(a.T, bias=True) - np.cov(b.T, bias=True)).mean()
    p, q = read_both(3, ["input"])
    apart = np.sqrt(((p[:, None] - q[None]) ** 2).mean(axis=2))
    alpha = 1024 / 64
    return {
        "content": (1, alpha / (alpha + 2) * content),
        "style": (1, relaxed_cost(cosine(*read_both(1, layers))) / (alpha + 2)),
        "moments": (1, moments / (alpha + 2)),
        "palette": (1, relaxed_cost(cosine(p, q) + apart) / (alpha + 2) / alpha),
    }


def nnst():
    layers = [f"block{b}_conv{i}" for b, count in ((1, 2), (2, 2), (3, 3), (4, 3)) for i in range(1, count + 1)]
    weights = random_parameters()

    def make_grid(h, w):
        i, j = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
        return np.stack([i.ravel(), j.ravel()], axis=1)

    def read_columns(picture):
        """Read every layer at a quarter of the picture's positions, from corner to corner."""
        features = features64(weights, FLAVOURS["torchvision"], np.float32(picture))
        h, w = picture.shape[0] // 4, picture.shape[1] // 4
        columns = []
        for F in (features[layer] for layer in layers):
            at = make_grid(h, w) * (np.array(F.shape[:2]) - 1) / (h - 1, w - 1)
            columns.append(read_hypercolumns({"F": F}, ["F"], (at + 0.5) / F.shape[:2]) / F.shape[-1])
        return np.concatenate(columns, axis=1)

    def centred(vectors):
        return unit(vectors - vectors.mean(axis=0))

    h, w, _ = CONTENT.shape
    half = np.float64(CONTENT).reshape(h // 2, 2, w // 2, 2, 3).mean(axis=(1, 3))
    enlarged = read_hypercolumns({"half": half}, ["half"], (make_grid(h, w) + 0.5) / (h, w)).reshape(h, w, 3)
    blended = 0.75 * CONTENT + 0.25 * (START + CONTENT - enlarged)
    style = np.concatenate([read_columns(np.rot90(STYLE, quarters)) for quarters in range(4)])
    target = style[np.argmax(centred(read_columns(blended)) @ centred(style).T, axis=1)]
    x, *turned = (
        features64(weights, FLAVOURS["torchvision"], np.float32(picture))
        for picture in (PICTURE, *(np.rot90(STYLE, quarters) for quarters in range(4)))
    )
    nearest = [
        1 - (centred(rows(x[layer])) @ centred(np.concatenate([rows(s[layer]) for s in turned])).T).max(axis=1)
        for layer in layers
    ]
    return {
        "style": (1, np.mean(1 - (unit(read_columns(PICTURE)) * unit(target)).sum(axis=1))),
        "split": (1, sum(map(np.mean, nearest))),
    }


@pytest.mark.parametrize("reference", [li_wand, sliced_wasserstein, strotss, nnst])
def test_terms_and_weights_equal_the_sources(reference):
    preset = reference.__name__.replace("_", "-")
    experiment, expected = load(preset), reference()
    weights = {**experiment.config.loss_weights, **experiment.config.finish_weights}
    assert weights == {name: weight for name, (weight, _) in expected.items()}
    network = narrow_vgg19(flavour=experiment.flavour, pooling=experiment.config.pooling, precision="highest")
    objective = Objective(tuple(experiment.terms(experiment.config)))
    targets = jax.jit(objective.targets)(network, content=jnp.asarray(CONTENT), style=jnp.asarray(STYLE))
    targets = jax.jit(objective.complete_targets)(targets, network, jnp.asarray(START))

    @jax.jit
    def evaluate(network, targets, x):
        return jax.value_and_grad(
            lambda x: objective(x, network=network, targets=targets, weights=weights, key=KEY), has_aux=True
        )(x)

    (_, values), gradient = evaluate(network, targets, jnp.asarray(PICTURE))
    assert jnp.isfinite(gradient).all() and jnp.any(gradient != 0)
    for name, (_, value) in expected.items():
        # Differences of similar float32 features: the relative error of 1e-6 is amplified.
        np.testing.assert_allclose(values[name], value, rtol=1e-4)
