"""Downloads from a local server, and the choice of weights by ``--weights``."""

import os
import threading
import time
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from weights_examples import equal_weights, find_real_file, make_weights, name_tensors

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS
from nstjax.network.weights import (
    NoWeights,
    Source,
    Weights,
    choose,
    download,
    fetch,
    find,
    list_sources,
    manifest,
    read,
    write,
)

ANSWERS: dict[str, bytes] = {}
RELEASED = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """A handler that answers from ANSWERS; /cut sends half the content, /hang and /stall stop before and during it."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        if self.path.startswith("/hang"):
            RELEASED.wait(20)
            return
        if name not in ANSWERS:
            self.send_error(404)
            return
        content = ANSWERS[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        short = self.path.startswith(("/cut", "/stall"))
        self.wfile.write(content[: len(content) // 2] if short else content)
        if self.path.startswith("/stall"):
            self.wfile.flush()
            RELEASED.wait(20)

    def log_message(self, format, *args):
        """Print nothing, to keep pytest's output short."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start a local server; yields its address."""
    RELEASED.clear()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http_server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http_server.server_port}"
    RELEASED.set()
    http_server.shutdown()
    http_server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter an empty folder with an empty cache; returns the folder of weights in the cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NSTJAX_WEIGHTS", raising=False)
    monkeypatch.delenv("NSTJAX_OFFLINE", raising=False)
    return tmp_path / "cache" / "nstjax" / "weights"


@pytest.fixture
def publish(server: str, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts weights on the server, as the manifest's only source, named "keras"."""

    def publish_weights(
        weights: Weights, *, way: str = "", checksum: str | None = None, address: str | None = None
    ) -> Source:
        content = save(name_tensors(weights))
        ANSWERS["vgg.safetensors"] = content
        source = Source(
            "keras",
            address or f"{server}{way}/vgg.safetensors",
            f"md5:{md5(content).hexdigest()}" if checksum is None else checksum,
            1,
            weights.flavour.name,
            "CC BY 4.0",
            "safetensors",
            "for the test",
        )
        monkeypatch.setattr(manifest, "load_sources", lambda: {"keras": source})
        return source

    return publish_weights


def test_fetch_checks_converts_and_keeps(publish, home: Path):
    weights, calls = make_weights(3), []
    source = publish(weights)
    path = fetch("keras", progress=lambda done, total: calls.append((done, total)))
    assert path == home / "keras.safetensors"
    again = read(path)
    assert equal_weights(weights, again)
    assert again.source == f"keras, {source.address}"
    assert (again.license, again.flavour.name) == ("CC BY 4.0", "torchvision")
    size = len(ANSWERS["vgg.safetensors"])
    assert calls[-1] == (size, size) and [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert os.listdir(home) == ["keras.safetensors"]
    assert [listed.path for listed in list_sources()] == [path]


def test_fetch_accepts_a_source_without_a_checksum(publish, tmp_path: Path):
    weights = make_weights(2)
    publish(weights, checksum="")
    assert equal_weights(read(fetch("keras", folder=tmp_path / "mine")), weights)


@pytest.mark.parametrize(
    ("way", "checksum", "message"),
    [
        ("", "md5:00", "does not have the checksum md5:00"),
        ("/cut", None, r"ended after \d+ of \d+ bytes: try again"),
        ("/stall", None, "broke off .*timed out.*: try again"),
        ("/hang", None, "no answer within|timed out"),
    ],
)
def test_a_failed_fetch_leaves_nothing(
    publish, home: Path, monkeypatch: pytest.MonkeyPatch, way: str, checksum: str | None, message: str
):
    publish(make_weights(2), way=way, checksum=checksum)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    start = time.monotonic()
    with pytest.raises(UserError, match=message) as caught:
        fetch("keras")
    assert time.monotonic() - start < 3
    assert "\n" not in str(caught.value)
    assert os.listdir(home) == []


def test_an_http_error_names_the_address(publish, server: str, home: Path):
    publish(make_weights(1), address=f"{server}/gone.safetensors")
    with pytest.raises(UserError, match=r"gone.safetensors answered 404 Not Found"):
        fetch("keras")
    assert os.listdir(home) == []


def test_without_a_network_the_error_describes_the_manual_way(publish):
    publish(make_weights(1), address="http://127.0.0.1:9/vgg.safetensors")
    with pytest.raises(
        UserError, match=r"download http://127.0.0.1:9/vgg.safetensors on another machine, then nstjax wei"
    ):
        fetch("keras")


def test_a_name_look_up_that_hangs_is_given_up(publish, monkeypatch: pytest.MonkeyPatch):
    publish(make_weights(1))
    monkeypatch.setattr(download.urllib.request, "urlopen", lambda *args, **settings: RELEASED.wait(20))
    start = time.monotonic()
    with pytest.raises(NoWeights, match=r"no answer within 0.3 seconds"):
        choose("auto", timeout=0.3, on_notice=lambda line: None)
    assert time.monotonic() - start < 2


def test_auto_waits_three_seconds_at_most_for_a_network(publish, monkeypatch: pytest.MonkeyPatch):
    publish(make_weights(1))
    waited = []
    monkeypatch.setattr(download, "_connect", lambda address, timeout: waited.append(timeout) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        find(on_notice=lambda line: None)
    with pytest.raises(ZeroDivisionError):
        find("keras", on_notice=lambda line: None)
    assert waited == [3, 8]


def test_an_interrupted_download_leaves_nothing(publish, home: Path):
    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    publish(make_weights(2))
    with pytest.raises(KeyboardInterrupt):
        fetch("keras", progress=stop)
    assert os.listdir(home) == []


def test_a_full_disk_and_a_file_as_folder_are_reported(
    publish, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    publish(make_weights(1))

    def raise_disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        fetch("keras", folder=tmp_path / "file")
    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(UserError, match=r"cannot write to .* \(No space left on device\): keras needs 1 MB"):
        fetch("keras")
    assert os.listdir(home) == []


def test_kernels_of_another_network_are_refused_after_the_download(publish, home: Path):
    publish(make_weights(2, flavour="caffe"))
    with pytest.raises(UserError, match="block1_conv1 is not that of the Caffe VGG19"):
        fetch("keras")
    assert os.listdir(home) == []


def test_an_unknown_name_lists_the_sources():
    with pytest.raises(UserError, match="no source of weights is called 'kears': expected one of keras, torchvision"):
        fetch("kears")


def test_torchs_format_is_refused_before_the_download(monkeypatch: pytest.MonkeyPatch, home: Path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"torchvision: reading .pth needs PyTorch"):
        fetch("torchvision")
    assert not home.exists()


def put(path: Path, weights: Weights) -> Weights:
    """Write weights, and make the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, weights)
    return weights


def test_auto_takes_the_first_file_that_is_deep_enough(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NSTJAX_OFFLINE", "1")
    notices: list[str] = []

    def find_weights(layer: str) -> Weights:
        notices.clear()
        return find(layers=[layer], on_notice=notices.append)

    cached = put(home / "keras.safetensors", make_weights(3, seed=1))
    other = put(Path("weights/a_file.safetensors"), make_weights(2, seed=2))
    assert equal_weights(find_weights("block1_conv2"), other) and not notices
    assert (
        equal_weights(find_weights("block2_conv1"), cached)
        and "passed over: weights/a_file.safetensors: layer" in notices[0]
    )
    named = put(Path("weights/timm.safetensors"), make_weights(2, seed=3))
    assert equal_weights(find_weights("block1_conv2"), named)  # the manifest's names come first
    put(Path("weights/keras.safetensors"), make_weights(2, seed=4))
    content = Path("weights/keras.safetensors").read_bytes()
    Path("weights/keras.safetensors").write_bytes(content[:-1])
    assert equal_weights(find_weights("block1_conv2"), named) and "not a whole safetensors file" in notices[0]
    Path("weights/.keras.safetensors.1.part").write_bytes(content)
    assert equal_weights(find_weights("block1_conv2"), named)
    mine = put(tmp_path / "mine" / "x.safetensors", make_weights(2, seed=5))
    monkeypatch.setenv("NSTJAX_WEIGHTS", str(tmp_path / "mine"))
    assert equal_weights(find_weights("block1_conv2"), mine)
    monkeypatch.setenv("NSTJAX_WEIGHTS", str(tmp_path / "mine" / "x.safetensors"))
    assert equal_weights(find_weights("block1_conv2"), mine)


def test_auto_takes_only_the_weights_in_the_environment(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch):
    put(home / "keras.safetensors", make_weights(3))
    put(tmp_path / "mine" / "x.safetensors", make_weights(1))
    for value, message in (
        ("none", "no file none"),
        ("mine/x.safetensors", "layer block2_conv1 needs block2_conv1, but these weights hold only block1_conv1"),
        ("mine", "the folder mine holds no weights that have block2_conv1"),
    ):
        monkeypatch.setenv("NSTJAX_WEIGHTS", value)
        with pytest.raises(UserError, match=rf"\$NSTJAX_WEIGHTS: .*{message}") as caught:
            find(layers=["block2_conv1"], on_notice=lambda line: None)
        assert not isinstance(caught.value, NoWeights)


def test_auto_fetches_the_default(publish, home: Path):
    weights, notices = make_weights(2), []
    publish(weights)
    assert equal_weights(find(layers=["block1_conv2"], on_notice=notices.append), weights)
    assert len(notices) == 1 and "fetching keras" in notices[0] and str(home) in notices[0]
    assert equal_weights(find(layers=["block1_conv2"], on_notice=notices.append), weights)
    assert len(notices) == 1  # the second time from the cache


def test_auto_says_why_there_are_no_weights_and_what_to_do(publish, monkeypatch: pytest.MonkeyPatch):
    publish(make_weights(1), address="http://127.0.0.1:9/vgg.safetensors")
    with pytest.raises(
        NoWeights, match=r"no converted weights in ./weights or .*cache.* no connection to keras's weights .*refused"
    ):
        find(on_notice=lambda line: None)
    monkeypatch.setenv("NSTJAX_OFFLINE", "1")
    with pytest.raises(NoWeights, match="NSTJAX_OFFLINE is set, so keras is not fetched"):
        find(on_notice=lambda line: None)


def test_a_name_is_that_source_or_an_error(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NSTJAX_OFFLINE", "1")
    put(Path("weights/other.safetensors"), make_weights(4))
    with pytest.raises(UserError, match="timm is not fetched") as caught:
        find("timm")
    assert not isinstance(caught.value, NoWeights)
    mine = put(home / "timm.safetensors", make_weights(2))
    assert equal_weights(find("timm", layers=["pool1"]), mine)
    with pytest.raises(UserError, match=r"timm.safetensors: layer block5_conv4 needs block5_conv4"):
        find("timm")
    put(Path("weights/keras.safetensors"), make_weights(2))
    with pytest.raises(UserError, match="its flavour is torchvision, of VGG19, but keras is caffe"):
        find("keras", layers=["pool1"])
    put(Path("weights/keras.safetensors"), make_weights(2, flavour="caffe"))
    with pytest.raises(UserError, match="block1_conv1 is not that of the Caffe VGG19"):
        find("keras", layers=["pool1"])


def test_a_path_is_that_file_or_an_error(tmp_path: Path):
    weights = put(tmp_path / "mine.safetensors", make_weights(2))
    assert equal_weights(find("mine.safetensors", layers=["relu1_2"]), weights)
    with pytest.raises(UserError, match=r"mine.safetensors: layer relu2_1 needs block2_conv1"):
        find("mine.safetensors", layers=["relu2_1"])
    with pytest.raises(UserError, match=r"no file of weights 'your.safetensors': expected a file, auto, or .*keras"):
        find("your.safetensors")
    with pytest.raises(UserError, match="is a folder"):
        find(str(tmp_path))


def test_the_trained_blocks_can_be_a_named_source(home: Path):
    trained = read(find_real_file())
    put(home / "keras.safetensors", trained)
    weights = find("keras", layers=["relu3_4"])
    assert weights.sha256 == trained.sha256
    assert np.isclose(weights.parameters["block1_conv1"][0].std(), 0.1914, atol=1e-4)


def test_the_manifest_is_complete():
    for name, source in manifest.load_sources().items():
        algorithm, _, digest = source.checksum.partition(":")
        assert source.address.startswith("https://") or source.package, name
        assert source.network in NETWORKS and source.flavour in FLAVOURS
        assert source.license and source.layout and source.description and source.megabytes > 50
        assert (algorithm, len(digest)) in (("md5", 32), ("sha256", 64 if source.package else 8), ("", 0))
    assert next(iter(manifest.load_sources())) == "keras"
