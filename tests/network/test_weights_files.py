"""Files of converted weights: round trips, and every way in which a file can be wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from weights_examples import equal_weights, find_real_file, make_weights, name_tensors

from nstjax.errors import UserError
from nstjax.network.weights import Weights, read, verify, write


def test_written_weights_are_read_again(tmp_path: Path):
    weights = make_weights()
    write(tmp_path / "a.safetensors", weights)
    again = read(tmp_path / "a.safetensors")
    assert equal_weights(weights, again)
    assert (again.flavour, again.source, again.sha256) == (weights.flavour, "drawn at random", weights.sha256)
    assert list(load_file(tmp_path / "a.safetensors"))  # the library agrees that it is safetensors


def test_the_same_weights_give_the_same_bytes(tmp_path: Path):
    for name in "ab":
        write(tmp_path / f"{name}.safetensors", make_weights())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_digest_depends_on_content_and_flavour_but_not_on_layout():
    weights = make_weights(2)
    strided = {name: (np.asfortranarray(kernel), bias) for name, (kernel, bias) in weights.parameters.items()}
    assert Weights(strided, weights.flavour, "elsewhere").sha256 == weights.sha256
    assert make_weights(2, flavour="self-taught").sha256 != weights.sha256
    assert make_weights(2, seed=1).sha256 != weights.sha256
    assert make_weights(1).sha256 != weights.sha256


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.safetensors"
    write(path, make_weights(1))
    before = path.read_bytes()

    def raise_disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(OSError, match="No space"):
        write(path, make_weights(2))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("deep_enough", ["block1_conv1", "relu2_2", "pool2", "conv1_2"])
def test_require_accepts_layers_that_the_weights_have(deep_enough: str):
    make_weights(4).require([deep_enough])


def test_require_names_the_missing_layer_and_the_present_ones():
    with pytest.raises(UserError, match=r"relu3_1 needs block3_conv1, .* hold only block1_conv1 to block2_conv2"):
        make_weights(4).require(["relu3_1"])


def drop_layer(tensors: dict) -> None:
    del tensors["block1_conv2/kernel"], tensors["block1_conv2/bias"]


def drop_bias(tensors: dict) -> None:
    del tensors["block2_conv1/bias"]


def change_shape(tensors: dict) -> None:
    tensors["block1_conv2/kernel"] = tensors["block1_conv2/kernel"][..., :32].copy()


def change_type(tensors: dict) -> None:
    tensors["block1_conv1/bias"] = tensors["block1_conv1/bias"].astype(np.float64)


def add_nan(tensors: dict) -> None:
    tensors["block2_conv2/kernel"][0, 0, 0, 0] = np.nan


def add_foreign_layer(tensors: dict) -> None:
    tensors["conv_stem/kernel"] = np.zeros(3, np.float32)


def remove_all(tensors: dict) -> None:
    tensors.clear()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_layer, "layer block1_conv2 is missing before block2_conv1"),
        (drop_bias, "layer block2_conv1 has no bias"),
        (change_shape, r"layer block1_conv2: its kernel is \[3, 3, 64, 32\], expected \[3, 3, 64, 64\]"),
        (change_type, "layer block1_conv1: its bias is float64"),
        (add_nan, "layer block2_conv2: its kernel has values that are not finite"),
        (add_foreign_layer, "conv_stem/kernel.* another network"),
        (remove_all, "expected block1_conv1"),
    ],
)
def test_wrong_content_is_one_line_that_names_the_layer(damage, message: str, tmp_path: Path):
    tensors = name_tensors(make_weights(4))
    damage(tensors)
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"flavour": "torchvision"})
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_hold_no_weights_are_refused(tmp_path: Path):
    whole = tmp_path / "whole.safetensors"
    write(whole, make_weights(2))
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-100])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.safetensors").write_text("<!DOCTYPE html>" * 10)
    header = b'{"block1_conv1/bias":{"dtype":"BF16","shape":[64],"data_offsets":[0,128]}}'
    (tmp_path / "bfloat16.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(128))
    with pytest.raises(UserError, match=r"NumPy knows|has no kernel"):  # NumPy knows bfloat16 once JAX is imported
        read(tmp_path / "bfloat16.safetensors")
    with pytest.raises(UserError, match="is empty"):
        read(tmp_path / "empty.safetensors")
    for name in ("cut", "text"):
        with pytest.raises(UserError, match="not a whole safetensors file"):
            read(tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"no file .*none.safetensors"):
        read(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="nstjax weights convert"):
        (tmp_path / "vgg.h5").write_bytes(b"any")
        read(tmp_path / "vgg.h5")


def test_one_flipped_bit_is_noticed(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    write(path, make_weights(2))
    content = bytearray(path.read_bytes())
    content[-5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read(path)


def test_a_file_must_state_a_known_flavour_unless_it_is_caffes(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file(name_tensors(make_weights(2)), path)
    with pytest.raises(UserError, match=r"does not state its flavour: .* nstjax weights convert .* --flavour"):
        read(path)
    save_file(name_tensors(make_weights(2)), path, {"flavour": "vanilla"})
    with pytest.raises(UserError, match="'vanilla', expected one of caffe, torchvision"):
        read(path)


def test_a_file_that_names_an_impossible_network_is_refused(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    for blocks in ("", "[[2, 64], [1000000000, 128]]", "[2, 64]", "{}", '[["x", 1]]', "[[2, 32], [2, 128]]"):
        save_file(name_tensors(make_weights(2)), path, {"flavour": "torchvision", "network": "mine", "blocks": blocks})
        with pytest.raises(
            UserError, match=r"does not state the blocks|one to five blocks|expected .* in mine"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_the_test_data_are_recognised_as_caffes():
    weights = read(find_real_file())
    assert (weights.flavour.name, weights.deepest) == ("caffe", "block3_conv4")
    assert verify(find_real_file()).status == "matches the Caffe fingerprints of block1_conv1 to block3_conv4"
