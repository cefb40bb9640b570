"""Fixtures and helpers shared by the tests: small networks, pictures, and the real weights if available."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Set before JAX is imported: tests must not use the network, nor weights that happen to be on the machine.
os.environ["NSTJAX_OFFLINE"] = "1"
os.environ.pop("NSTJAX_WEIGHTS", None)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "PYTEST_XDIST_WORKER" not in os.environ:
    from quick_programs import FLAGS, find_known_flags

    flags = " ".join(find_known_flags(FLAGS))
    os.environ["XLA_FLAGS"] = f"{flags} {os.environ.get('XLA_FLAGS', '')}"
    # Many tests compile the same small programs; the cache shares them between all tests and processes.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="nstjax-programs-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
    # A process without matplotlib's list of fonts makes one, which takes a second.
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="nstjax-fonts-")
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"

import jax
import numpy as np
import pytest
from jaxtyping import config, install_import_hook

# The annotations of the numeric rooms are checked under pytest, with their shapes and dtypes. The imports reach all
# modules of these rooms.
with install_import_hook(
    [
        "nstjax.blending",
        "nstjax.divergence",
        "nstjax.images",
        "nstjax.losses",
        "nstjax.multiscale",
        "nstjax.network.convolution",
        "nstjax.network.selftaught",
        "nstjax.network.vgg",
        "nstjax.network.winograd",
        "nstjax.objective",
        "nstjax.optimise",
        "nstjax.optimisers",
        "nstjax.parameterisation",
        "nstjax.shaping",
        "nstjax.statistics",
    ],
    "type_checking.check",
):
    import nstjax.images.examples
    import nstjax.images.masks
    import nstjax.multiscale
    import nstjax.network.selftaught
    import nstjax.network.vgg
    import nstjax.optimisers
    import nstjax.shaping  # noqa: F401

from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.vgg import VGG
from nstjax.network.weights import Weights, read


@pytest.fixture
def strict_dtypes():
    """Forbid silent promotion of dtypes; not usable for a whole run, because optax relies on promotion."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def unchecked_types(monkeypatch):
    """Switch off the checks of annotations, for a test that passes arguments of a wrong type or shape on purpose."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def _hide_users_weights(tmp_path, monkeypatch):
    """Hide the converted weights in the user's cache, and those of an installed package."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("nstjax.network.weights.packaged.locate", lambda source: None)


@pytest.fixture
def quick_learning(monkeypatch):
    """Let the self-taught network learn from few and small crops: for tests of what is done with it."""
    monkeypatch.setattr("nstjax.network.selftaught._CROPS", (6, 32))
    monkeypatch.setattr("nstjax.network.selftaught._PATCHES", 1500)


def random_parameters(deepest="block5_conv4", *, width=1 / 16, seed=0, architecture=VGG19):
    """Return {convolution: (kernel, bias)} of a narrow network with He weights, from the first to ``deepest``."""
    generator = np.random.default_rng(seed)
    parameters, channels_in = {}, 3
    for name in architecture.convolutions_to(deepest):
        channels_out = max(int(architecture.kernel_shape(name)[3] * width), 2)
        kernel = generator.standard_normal((3, 3, channels_in, channels_out)) * np.sqrt(2 / (9 * channels_in))
        bias = 0.1 * generator.standard_normal(channels_out)
        parameters[name] = (kernel.astype(np.float32), bias.astype(np.float32))
        channels_in = channels_out
    return parameters


def narrow_vgg19(deepest="block5_conv4", *, flavour="torchvision", seed=0, **options):
    """Return a random VGG19 with a sixteenth of the channels: fast, and as deep as the real one."""
    return VGG(random_parameters(deepest, seed=seed), FLAVOURS[flavour], **options)


def random_weights(deepest="block2_conv1", *, flavour="torchvision", seed=0):
    """Return random weights with VGG19's real shapes, a few layers deep."""
    return Weights(random_parameters(deepest, width=1, seed=seed), FLAVOURS[flavour], "random, for tests")


def fill_workspace(folder):
    """Write two pictures, weights of two blocks, and an experiment that uses them into a folder."""
    from quick_run import EXPERIMENT

    from nstjax import images
    from nstjax.network.weights import write

    images.save(folder / "content.png", smooth_picture(30, 40))
    images.save(folder / "style.png", smooth_picture(36, 28, seed=1))
    write(folder / "vgg.safetensors", random_weights("block2_conv1"))
    (folder / "quick.py").write_text(EXPERIMENT)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Change to a folder with two pictures, weights of two blocks, and an experiment that uses them."""
    fill_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def picture():
    """Return a smooth picture [H, W, 3] in [0, 1] with odd sides."""
    return smooth_picture(37, 45)


def smooth_picture(height, width, *, seed=0):
    """Return random waves, in which neighbouring pixels are similar, as in photographs."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 16
    waves = [np.sin(a * x + b * y + c) for a, b, c in generator.uniform(-3, 3, (9, 3))]
    channels = np.stack([np.sum(waves[i::3], axis=0) for i in range(3)], axis=-1)
    return ((channels - channels.min()) / np.ptp(channels)).astype(np.float32)


def find_test_data():
    """Return the folder of real pictures and weights; skip the test if it is not set."""
    folder = os.environ.get("NSTJAX_TEST_DATA")
    if not folder:
        pytest.skip("NSTJAX_TEST_DATA is not set: no real weights or pictures for the test")
    return Path(folder)


@pytest.fixture
def real_weights():
    """Return blocks 1 to 3 of the real VGG19, Caffe flavour."""
    return read(find_test_data() / "weights" / "vgg19_caffe_blocks1-3.safetensors")


@pytest.fixture
def real_picture():
    """Return a real photograph [96, 128, 3]."""
    from nstjax import images

    return images.resize(images.read(find_test_data() / "images" / "tubingen.jpg"), 128).rgb


def convolve64(x, kernel, bias, *, mode="constant"):
    """Convolve with a 3x3 kernel in float64 NumPy, without using the package."""
    padded = np.pad(x.astype(np.float64), [(1, 1), (1, 1), (0, 0)], mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return np.einsum("hwcij,ijck->hwk", windows, kernel.astype(np.float64), optimize=True) + bias


def features64(parameters, flavour, x, *, pooling="max", edge=False):
    """Return {step: feature} of VGG19 in float64 NumPy, without using the package's arithmetic."""
    x = (flavour.scale * x.astype(np.float64) - flavour.mean) / flavour.std
    x = x[..., ::-1] if flavour.order == "BGR" else x
    features = {}
    for step in VGG19.sequence:
        if step in parameters:
            mode = "edge" if edge and step == "block1_conv1" else "constant"
            x = convolve64(x, *parameters[step], mode=mode)
            features["before " + step] = x
            x = np.maximum(x, 0)
        elif step.endswith("pool"):
            h, w, c = x.shape
            windows = x[: h // 2 * 2, : w // 2 * 2].reshape(h // 2, 2, w // 2, 2, c)
            reduce = {"max": np.max, "average": np.mean, "l2": lambda a, axis: np.sqrt((a**2).sum(axis))}[pooling]
            x = reduce(windows, axis=(1, 3))
        else:
            return features
        features[step] = x
    return features


def pytest_terminal_summary(terminalreporter):
    """Print the number of skips by reason, so that none goes unnoticed."""
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")
