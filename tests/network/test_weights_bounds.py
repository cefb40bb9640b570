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
from nstjax.network.weights import convert, read
from nstjax.network.weights.matlab import read_variables

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


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], name: str, data: bytes) -> bytes:
    head = element(6, struct.pack("<2I", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, head + element(1, name.encode()) + data)


def mat(*variables: bytes) -> bytes:
    packed = [zlib.compress(variable) for variable in variables]
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    return head + b"".join(struct.pack("<2I", 15, len(data)) + data for data in packed)


def cell(*values: bytes, name: str = "layers") -> bytes:
    return array(1, (1, len(values)), name, b"".join(values))


def layer(weights: bytes, shape: tuple[int, ...]) -> bytes:
    fields = {
        "name": array(4, (1, 7), "", element(16, b"conv1_1")),
        "weights": cell(array(7, shape, "", weights), name=""),
    }
    names = b"".join(field.encode().ljust(32, b"\0") for field in fields)
    return array(2, (1, 1), "", struct.pack("<2Hi", 5, 4, 32) + element(1, names) + b"".join(fields.values()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(cell(layer(element(2, bytes(1 << 25)), (1 << 25, 1)))), "conv1_1 is [33554432], larger"),
        (mat(cell(*[element(14, b"")] * 30_000)), "more than 20,000 arrays"),
        (mat(array(1, (1 << 16, 1 << 15), "layers", b"")), "cut short or damaged"),
        (mat(cell()), "holds no layer"),
        (mat(cell(), cell()), "two variables layers"),
        (mat(cell(name="other")), "holds no layers: expected a MatConvNet network"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "not a MAT file of version 5"),
        (mat(cell(layer(element(7, bytes(256)), (64, 1))))[:-40], "cut short or damaged"),
    ],
)
def test_a_mat_file_is_judged_while_it_is_unpacked(tmp_path, content, message):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    assert message in refuse(path)


def test_unwanted_variables_are_not_unpacked(tmp_path):
    (tmp_path / "a.mat").write_bytes(mat(array(7, (1 << 23, 1), "other", element(7, bytes(1 << 25))), cell()))
    tracemalloc.start()
    assert read_variables(tmp_path / "a.mat", ("layers",)) == {"layers": []}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("compressed", [False, True])
def test_variables_are_read_as_scipy_wrote_them(tmp_path, compressed):
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4, order="F")
    struct_ = {"name": "conv1_1", "stride": np.array([1, 2], np.uint8), "kernel": kernel, "empty": np.zeros((0, 0))}
    cells = np.empty((1, 2), object)
    cells[0, :] = [struct_, kernel.astype(np.float64)]
    scipy.io.savemat(tmp_path / "a.mat", {"layers": cells, "other": kernel}, do_compression=compressed)
    variables = read_variables(tmp_path / "a.mat", ("layers",))
    assert [*variables] == ["layers"]
    ((inner,), double) = variables["layers"]
    assert inner["name"] == "conv1_1" and inner["stride"].shape == (2,)
    np.testing.assert_array_equal(inner["kernel"].read(), kernel)
    np.testing.assert_array_equal(double.read(), kernel.astype(np.float64))
    assert double.read().dtype == np.float64 and inner["empty"].shape == (0, 0)


def test_whole_numbers_that_matlab_stores_small_are_values(tmp_path):
    (tmp_path / "a.mat").write_bytes(mat(array(7, (1, 4), "layers", element(2, bytes([1, 2, 3, 4])))))
    bias = read_variables(tmp_path / "a.mat", ("layers",))["layers"].read()
    np.testing.assert_array_equal(bias, np.array([1, 2, 3, 4], np.float32))
    assert bias.dtype == np.float32


@pytest.mark.parametrize("compressed", [False, True])
def test_a_compressed_matconvnet_file_gives_the_same_weights(tmp_path, compressed):
    weights = make_weights(2, flavour="caffe")
    layers = np.empty((1, 2), object)
    for k, (name, (kernel, bias)) in enumerate(weights.parameters.items()):
        pair = np.empty((1, 2), object)
        pair[0, 0], pair[0, 1] = kernel[:, :, ::-1] if k == 0 else kernel, bias[None]
        layers[0, k] = {"name": f"conv{name[5]}_{name[-1]}", "weights": pair}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"layers": layers}, do_compression=compressed)
    from nstjax.network.weights import readers

    contents = readers.read(path)
    assert contents.order == "RGB" and FLAVOURS["caffe"].order == "BGR"
    read_weights = {
        name: (kernel[:, :, ::-1] if name == "block1_conv1" else kernel, bias)
        for name, (kernel, bias) in contents.parameters.items()
    }
    assert equal_weights(weights, type(weights)(read_weights, weights.flavour, ""))
