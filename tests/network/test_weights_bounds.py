"""Files of weights that would unpack to far more than a network, wait for ever, or read other files."""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from weights_examples import equal_weights, make_weights

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS
from nstjax.network.weights import convert, matlab, read, readers

KERNEL = np.zeros((3, 3, 3, 64), np.float32)
BIAS = np.zeros(64, np.float32)
NAME = "block1_conv1/kernel:0"


def refuse(path: Path, *, reader: Callable = lambda path: convert(path, flavour="torchvision")) -> str:
    """Return the error for a file, after checking that it is one line and that little memory was used."""
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        reader(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_an_npz_is_judged_by_its_headers(tmp_path: Path, compression: int):
    path = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 24, 1 << 24)})
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("conv1_1_W.npy", header.getvalue())
    message = refuse(path)
    assert "conv1_1_W" in message
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("conv1_1_b.npy", "w") as file:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 25,)})
        file.write(header.getvalue())
        for _ in range(128):
            file.write(bytes(1 << 20))
    assert "conv1_1_b is [33554432], larger than any tensor of a VGG network" in refuse(path)


def save_sizes(file: h5py.File) -> None:
    file.create_dataset(NAME, (3, 3, 1 << 12, 1 << 12), "f4")  # contiguous and never written: takes no space


def save_pieces(file: h5py.File) -> None:
    file.create_dataset(NAME, data=KERNEL, chunks=True, compression="gzip")


def save_external(file: h5py.File) -> None:
    os.mkfifo("pipe")
    file.create_dataset(NAME, KERNEL.shape, "f4", external=[("pipe", 0, KERNEL.nbytes)])


def save_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(KERNEL.shape, "f4")
    os.mkfifo("pipe")
    layout[...] = h5py.VirtualSource("pipe", "data", KERNEL.shape)
    file.create_virtual_dataset(NAME, layout)


def save_external_link(file: h5py.File) -> None:
    os.mkfifo("pipe")
    file[NAME] = h5py.ExternalLink("pipe", "data")


def save_soft_link(file: h5py.File) -> None:
    file["data"] = KERNEL
    file[NAME] = h5py.SoftLink("/data")


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (save_sizes, r"kernel:0 is [3, 3, 4096, 4096], larger than any tensor of a VGG network"),
        (save_pieces, "kernel:0 is in pieces, which may be compressed"),
        (save_external, "in another file: expected its values in one piece"),
        (save_virtual, "in another file: expected its values in one piece"),
        (save_external_link, "kernel:0 is a link to data"),
        (save_soft_link, "kernel:0 is a link to /data"),
    ],
)
def test_hdf5_is_read_only_where_the_file_itself_holds_the_values(tmp_path, monkeypatch, save, message):
    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as file:
        save(file)
        file["block1_conv1/bias:0"] = BIAS
    assert message in refuse(Path("a.h5"))


@pytest.mark.parametrize("reader", [read, convert])
def test_safetensors_are_judged_by_their_header(tmp_path, reader):
    header = b'{"block1_conv1/kernel":{"dtype":"F32","shape":[33554432],"data_offsets":[0,134217728]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + (1 << 27))  # takes no space on the disk
    assert "block1_conv1/kernel is [33554432], larger" in refuse(path, reader=reader)
    path.write_bytes((50 << 20).to_bytes(8, "little"))
    os.truncate(path, 60 << 20)
    assert "a header of 52,428,800 bytes" in refuse(path, reader=reader)


def test_pytorch_tensors_are_judged_by_their_shapes(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    path = tmp_path / "a.pth"
    torch.save({"features.0.weight": torch.zeros(1).expand(1 << 12, 1 << 12, 3, 3)}, path)
    assert "features.0.weight is [4096, 4096, 3, 3], larger" in refuse(path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    assert "compressed tensors" in refuse(tmp_path / "b.pth")


# MAT files


def mat(*variables: bytes) -> bytes:
    """Return a MAT file of packed variables."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    return head + b"".join(struct.pack("<2I", 15, len(data)) + data for data in map(zlib.compress, variables))


def save_mat(path: Path, variables: dict, **options) -> bytes:
    """Write variables, and return the bytes of the file."""
    scipy.io.savemat(path, variables, **options)
    return path.read_bytes()


def matconvnet(*layers: tuple[str, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the cell array of a network's layers."""
    cells = np.empty((1, len(layers)), object)
    for k, (name, kernel, bias) in enumerate(layers):
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = kernel, bias[None]
        cells[0, k] = {"name": name, "stride": np.array([1, 1], np.uint8), "weights": pair}
    return cells


def test_a_mat_file_that_unpacks_to_more_than_a_network_is_refused_while_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab, "_MOST_BYTES", 1 << 24)
    (tmp_path / "a.mat").write_bytes(mat(bytes(1 << 25)))
    assert "unpacks to more than 16,777,216 bytes" in refuse(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-40], "cut short or damaged"),
        (lambda content: content + content[128:], "Duplicate variable name"),
        (lambda content: mat(b"x"), "cannot be read as .mat"),
        (lambda content: b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "not a MAT file of version 5"),
    ],
)
def test_a_damaged_mat_file_is_refused(tmp_path, change, message):
    path = tmp_path / "a.mat"
    path.write_bytes(change(save_mat(path, {"layers": matconvnet(("conv1_1", KERNEL, BIAS))}, do_compression=True)))
    assert message in refuse(path)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"other": BIAS}, "holds no layers: expected a MatConvNet network"),
        ({"layers": matconvnet()}, "holds no layer of VGG19"),
        ({"layers": matconvnet(("conv1_1", KERNEL.astype(np.int32), BIAS))}, "expected one kernel and one bias"),
        ({"layers": matconvnet(("conv1_1", KERNEL, KERNEL))}, "expected one kernel and one bias"),
    ],
)
def test_a_mat_file_of_another_network_is_refused(tmp_path, variables, message):
    path = tmp_path / "a.mat"
    save_mat(path, variables, do_compression=True)
    assert message in refuse(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_a_matconvnet_file_gives_its_weights(tmp_path, compressed, count):
    weights = make_weights(count, flavour="caffe")
    layers = [
        (f"conv{name[5]}_{name[-1]}", kernel[:, :, ::-1] if k == 0 else kernel, bias)
        for k, (name, (kernel, bias)) in enumerate(weights.parameters.items())
    ]
    path = tmp_path / "a.mat"
    save_mat(path, {"layers": matconvnet(*layers)}, do_compression=compressed)
    contents = readers.read(path)
    assert contents.order == "RGB" and FLAVOURS["caffe"].order == "BGR"
    read_weights = {
        name: (kernel[:, :, ::-1] if name == "block1_conv1" else kernel, bias)
        for name, (kernel, bias) in contents.parameters.items()
    }
    assert equal_weights(weights, type(weights)(read_weights, weights.flavour, ""))
