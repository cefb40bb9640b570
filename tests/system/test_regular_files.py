"""Files: which may be opened at all."""

import os
from pathlib import Path

import pytest

from nstjax import images
from nstjax.errors import UserError
from nstjax.experiment.experiment import load
from nstjax.network import weights
from nstjax.system.files import check_regular

READERS = {
    "picture": images.read,
    "size of a picture": images.read_size,
    "mask": images.read_regions,
    "experiment": load,
    "weights": weights.read,
    "weights to convert": lambda path: weights.convert(path, flavour="caffe"),
    "weights to verify": weights.verify,
    "weights of a run": lambda path: weights.find(str(path)),
}
SUFFIXES = {"experiment": ".py", "weights to convert": ".h5"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_no_reader_opens_what_may_block_or_never_ends(tmp_path: Path, reader: str, kind: str):
    path = tmp_path / f"input{SUFFIXES.get(reader, '.safetensors')}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match="is a folder" if kind == "folder" else "is a device or a pipe") as caught:
        READERS[reader](path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_named_in_the_environment_or_found_in_the_cache_are_no_pipes(tmp_path: Path, monkeypatch):
    folder = tmp_path / "cache" / "nstjax" / "weights"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "any.safetensors")
    notices: list[str] = []
    with pytest.raises(UserError):
        weights.find("auto", on_notice=notices.append)
    assert any("any.safetensors is a device or a pipe" in notice for notice in notices)
    monkeypatch.setenv("NSTJAX_WEIGHTS", str(folder / "any.safetensors"))
    with pytest.raises(UserError, match=r"\$NSTJAX_WEIGHTS: .* is a device or a pipe"):
        weights.find("auto", on_notice=notices.append)


def test_the_size_of_a_regular_file_is_returned(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert check_regular(tmp_path / "a", "letters") == 3
    (tmp_path / "b").touch()
    for name, message in {"b": "is empty", "none": "no file .*expected letters", "\0": "cannot be opened"}.items():
        with pytest.raises(UserError, match=message):
            check_regular(tmp_path / name, "letters")
