import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import features64, narrow_vgg19, random_parameters, random_weights, smooth_picture
from quick_programs import USUAL, find_known_flags

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.load import build
from nstjax.network.vgg import VGG

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def relative_error(values, expected):
    return np.linalg.norm(np.asarray(values, np.float64) - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("flavour", "pooling", "padding"),
    [
        ("caffe", "max", "zero"),
        ("caffe", "average", "edge"),
        ("caffe", "l2", "edge"),
        ("torchvision", "max", "edge"),
        ("torchvision", "average", "zero"),
        ("torchvision", "l2", "zero"),
    ],
)
def test_every_layer_equals_float64(picture, flavour, pooling, padding):
    parameters = random_parameters()
    network = VGG(parameters, FLAVOURS[flavour], pooling=pooling, padding=padding, precision="highest")
    expected = features64(parameters, FLAVOURS[flavour], picture, pooling=pooling, edge=padding == "edge")
    features = network.features(picture, VGG19.sequence)
    for step in VGG19.sequence:
        assert features[step].dtype == jnp.float32
        assert relative_error(features[step], expected[step]) < 1e-5  # float32 through sixteen layers
    before_relu = network.features(picture, ["conv3_2"])["conv3_2"]
    assert relative_error(before_relu, expected["before block3_conv2"]) < 1e-5


def test_real_features_equal_float64(real_weights, real_picture):
    network = build(real_weights, precision="highest")
    layers = [
        step for step in VGG19.sequence if int(step[5]) <= 3 and (step in real_weights.parameters or "pool" in step)
    ]
    expected = features64(real_weights.parameters, real_weights.flavour, real_picture)
    features = network.features(real_picture, layers)
    assert set(features) >= set(real_weights.parameters)
    for step in layers:
        assert relative_error(features[step], expected[step]) < 1e-5


def test_real_features_equal_pytorchs(real_weights, real_picture):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    features = build(real_weights, precision="highest").features(real_picture, list(real_weights.parameters))
    x = torch.from_numpy(real_picture[..., ::-1] * 255 - np.array([103.939, 116.779, 123.68]))
    x = x.permute(2, 0, 1)[None].float()
    for step in VGG19.sequence:
        if step in real_weights.parameters:
            kernel, bias = map(torch.from_numpy, real_weights.parameters[step])
            x = torch.relu(torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1))
            assert relative_error(features[step], x[0].permute(1, 2, 0).double().numpy()) < 1e-5
        elif step != "block3_pool":
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            break


def test_names_and_aliases_give_the_same_feature(picture):
    network = narrow_vgg19()
    features = network.features(picture, ["block2_conv1", "relu2_1", "conv2_1", "pool2", "block2_pool", "input"])
    assert list(features) == ["block2_conv1", "relu2_1", "conv2_1", "pool2", "block2_pool", "input"]
    np.testing.assert_array_equal(features["block2_conv1"], features["relu2_1"])
    np.testing.assert_array_equal(features["relu2_1"], jax.nn.relu(features["conv2_1"]))
    np.testing.assert_array_equal(features["pool2"], features["block2_pool"])
    np.testing.assert_array_equal(features["input"], picture)
    assert features["conv2_1"].min() < 0


def test_no_layer_after_the_requested_ones_is_computed(picture):
    text = str(jax.make_jaxpr(lambda x: narrow_vgg19().features(x, ["relu2_1", "relu1_1"]))(picture))
    assert text.count("conv_general_dilated[") == 3
    assert "conv_general_dilated[" not in str(jax.make_jaxpr(lambda x: narrow_vgg19().features(x, ["input"]))(picture))


def test_jit_grad_and_vmap_work_and_other_weights_compile_nothing(picture):
    @jax.jit
    def loss(network, x):
        return jnp.sum(network.features(x, ["relu3_1"])["relu3_1"] ** 2)

    first, second = narrow_vgg19(seed=0), narrow_vgg19(seed=1)
    assert loss(first, picture) != loss(second, picture)
    assert loss._cache_size() == 1
    gradient = jax.grad(loss, argnums=1)(first, jnp.asarray(picture))
    assert gradient.shape == picture.shape and jnp.isfinite(gradient).all() and jnp.any(gradient != 0)
    pictures = jnp.stack([picture, picture[::-1]])
    both = jax.vmap(lambda x: first.features(x, ["relu3_1"])["relu3_1"])(pictures)
    one = first.features(pictures[1], ["relu3_1"])["relu3_1"]
    np.testing.assert_allclose(both[1], one, rtol=1e-4, atol=1e-5)  # vmap sums in another order


def test_the_gradient_of_the_picture_equals_finite_differences():
    with jax.enable_x64(True):
        parameters = {k: tuple(a.astype(np.float64) for a in v) for k, v in random_parameters("block2_conv2").items()}
        network = VGG(parameters, FLAVOURS["torchvision"], dtype=jnp.float64, precision="highest")
        x = jnp.asarray(smooth_picture(12, 14), jnp.float64)

        @jax.jit
        def loss(x):
            return jnp.mean(jnp.sin(network.features(x, ["relu2_2"])["relu2_2"]))

        direction = jax.random.normal(jax.random.key(0), x.shape, jnp.float64)
        step = 1e-4
        numeric = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
        assert numeric.dtype == jnp.float64
        # The tolerance is the error of the difference quotient.
        np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(x), direction), numeric, rtol=1e-6)


def test_rematerialisation_stores_less_and_gives_the_same_gradient(picture):
    layers = ["relu1_1", "relu3_1", "relu4_2"]

    def loss(network):
        return lambda x: sum(jnp.sum(map**2) for map in network.features(x, layers).values())

    sizes, gradients = {}, {}
    for rematerialise in (False, True):
        function = loss(narrow_vgg19(rematerialise=rematerialise))
        residuals = jax.eval_shape(lambda x, function=function: jax.vjp(function, x)[1], jnp.asarray(picture))
        sizes[rematerialise] = sum(leaf.size for leaf in jax.tree.leaves(residuals) if leaf.size > 1000)
        gradients[rematerialise] = jax.jit(jax.grad(function))(jnp.asarray(picture))
    assert sizes[True] < 0.75 * sizes[False]
    np.testing.assert_allclose(gradients[True], gradients[False], rtol=1e-5, atol=1e-6)  # other fusions


def test_bfloat16_computes_in_bfloat16_and_returns_float32(picture):
    half, full = narrow_vgg19(dtype=jnp.bfloat16), narrow_vgg19()
    for layer in half.convolutions.values():
        assert {leaf.dtype for leaf in jax.tree.leaves(layer.kernel)} == {jnp.dtype(jnp.bfloat16)}
        assert layer.bias.get_value().dtype == jnp.float32
    layers = ["relu1_1", "relu4_1"]
    features = half.features(picture, layers), full.features(picture, layers)
    for name in layers:
        low, high = (maps[name] for maps in features)
        assert low.dtype == jnp.float32
        assert 1e-4 < relative_error(low, np.asarray(high)) < 3e-2  # eight bits of mantissa: 0.4 % for each rounding


def test_a_network_ends_at_the_deepest_layer_that_will_be_asked_for():
    weights = random_weights("block2_conv1")
    whole, part = build(weights), build(weights, layers=("relu1_2", "input", "conv1_1"))
    assert [*part.convolutions] == ["block1_conv1", "block1_conv2"]
    picture = smooth_picture(8, 8)
    np.testing.assert_array_equal(*(vgg.features(picture, ["conv1_2"])["conv1_2"] for vgg in (whole, part)))
    assert [*build(weights, layers=()).convolutions] == ["block1_conv1"]


def test_bfloat16_gives_the_same_value_each_time(picture):
    """Guard against a release of jaxlib that gave another value, or NaN, at every call of such a loss."""
    network = build(random_weights("block2_conv1"), dtype=jnp.bfloat16)
    loss = jax.jit(lambda network, x: jnp.sum(network.features(x, ["relu1_2"])["relu1_2"] ** 2))
    usual = {name: value for name, value in USUAL.items() if find_known_flags([name])}
    loss = loss.lower(network, picture).compile(usual)
    values = {float(loss(network, picture)) for _ in range(20)}
    assert len(values) == 1 and np.isfinite(list(values)).all()


def test_maps_between_the_layers_are_narrow_on_accelerators_and_float32_on_cpus(picture, monkeypatch):
    """The narrow maps halve the bytes; jaxlib 0.11.2 computes them wrongly on CPUs, so only the types are looked at."""
    network, layers = narrow_vgg19(dtype=jnp.bfloat16), ["conv1_1", "relu1_1", "pool1"]

    def read_types() -> set[str]:
        program, features = jax.make_jaxpr(lambda x: network.features(x, layers), return_shape=True)(picture)
        maximum = next(line for line in str(program).splitlines() if " max " in line)
        assert all(feature.dtype == jnp.float32 for feature in features.values())
        return {name for name in ("bf16[", "f32[") if name in maximum.split("=")[0]}

    assert read_types() == {"f32["}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert read_types() == {"bf16["}


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ((8, 8), ["relu5_1"], "too small for relu5_1, which needs at least 16"),
        ((16, 16), ["relu9_1"], "no layer 'relu9_1'"),
        ((64, 64), ["relu4_1"], "deeper than these weights, which end at block3_conv4"),
    ],
)
def test_layers_that_cannot_be_computed_are_refused(shape, layers, message):
    network = narrow_vgg19("block3_conv4") if "deeper" in message else narrow_vgg19()
    with pytest.raises(UserError, match=message):
        network.features(smooth_picture(*shape), layers)


@pytest.mark.usefixtures("unchecked_types")
def test_batches_are_refused(picture):
    with pytest.raises(UserError, match=r"jax\.vmap"):
        narrow_vgg19().features(picture[None], ["relu1_1"])


def test_weights_with_gaps_are_refused():
    parameters = random_parameters("block2_conv1")
    del parameters["block1_conv2"]
    with pytest.raises(UserError, match="in order, from block1_conv1 on"):
        VGG(parameters, FLAVOURS["caffe"])
