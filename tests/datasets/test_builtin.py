import gzip
import hashlib
import http.server
import importlib
import io
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import wave

import numpy as np
import pytest
from sklearn import datasets as reference

import lamina.datasets
from lamina.datasets import (
    california_housing,
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    imdb,
    iris,
    mnist,
    reuters,
    speech_commands,
)
from lamina.datasets.builtin.fetch import RemoteFile
from lamina.wire.errors import DataLossError

EMBEDDED = ("iris", "wine", "breast_cancer", "digits", "diabetes")


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_equals_scikit_learns(name):
    module = getattr(lamina.datasets, name)
    options = {"scaled": False} if name == "diabetes" else {}
    want = getattr(reference, f"load_{name}")(**options)
    (x, y), (x_none, y_none) = module.load_data(test_split=0.0)
    order = np.random.RandomState(113).permutation(len(want.data))
    np.testing.assert_array_equal(x.reshape(len(x), -1), want.data[order].astype(x.dtype))
    np.testing.assert_array_equal(y, want.target[order].astype(y.dtype))
    assert len(x_none) == len(y_none) == 0
    if hasattr(module, "CLASS_NAMES") and name != "digits" and name != "wine":
        assert module.CLASS_NAMES == tuple(want.target_names)
    if hasattr(module, "FEATURE_NAMES"):
        assert len(module.FEATURE_NAMES) == x.shape[1]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_is_split_the_same_way_each_time(name):
    module = getattr(lamina.datasets, name)
    (x, y), (x_test, y_test) = module.load_data()
    again = module.load_data()
    np.testing.assert_array_equal(x_test, again[1][0])
    assert len(x_test) == len(y_test) == pytest.approx(0.2 * (len(x) + len(x_test)), abs=1)
    assert not np.array_equal(module.load_data(seed=1)[1][0], x_test)
    dataset = module.load("test")
    assert len(dataset) == len(x_test)
    first = next(iter(dataset))
    np.testing.assert_array_equal(first[0], x_test[0])
    assert len(module.load("all")) == len(x) + len(x_test)


def test_digits_are_small_images():
    (x, y), (x_test, y_test) = digits.load_data()
    assert x.shape == (1437, 8, 8) and x_test.shape == (360, 8, 8)
    assert x.dtype == np.uint8 and x.max() == 16 and sorted(set(y)) == list(range(10))
    assert y_test[:5].tolist() == [8, 0, 8, 9, 8]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="test_split must be a number between"):
        iris.load_data(test_split=2)
    with pytest.raises(ValueError, match="split must be 'train', 'test' or 'all'"):
        iris.load("valid")


def test_a_data_set_is_one_module_under_each_name():
    assert importlib.import_module("lamina.datasets.digits") is digits
    assert importlib.import_module("lamina.datasets.builtin.digits") is digits
    assert pickle.loads(pickle.dumps(digits.load_data)) is digits.load_data


def test_importing_the_package_loads_no_data_set():
    code = "import sys, lamina.datasets; print('http.client' in sys.modules, 'lamina.datasets.dataset' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serves made files on the loopback address in place of the real ones; gives what was asked for."""
    files, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[self.path])))
            self.end_headers()
            self.wfile.write(files[self.path])

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def remote(name, data):
        files[f"/{name}"] = data
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        return RemoteFile(name, url, f"sha256:{hashlib.sha256(data).hexdigest()}")

    remote.asked = asked
    remote.replace = lambda module, data, name="FILE": monkeypatch.setattr(
        module, name, remote(getattr(module, name).name, data)
    )
    yield remote
    server.shutdown()
    server.server_close()
    thread.join()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_the_addresses_are_the_public_ones():
    for module in (mnist, cifar10, cifar100, imdb, reuters, california_housing, speech_commands):
        assert module.FILE.url.endswith(module.FILE.name) and module.FILE.url.startswith("http")
        assert module.FILE.checksum.startswith("sha256:") and len(module.FILE.checksum) == 71


def test_mnist(serve):
    x, y = np.arange(3 * 784, dtype=np.uint8).reshape(3, 28, 28), np.array([1, 2, 3], np.uint8)
    serve.replace(mnist, npz(x_train=x, y_train=y, x_test=x[:1], y_test=y[:1]))
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    np.testing.assert_array_equal(x_train, x)
    np.testing.assert_array_equal(y_test, y[:1])
    assert len(mnist.load("all")) == 4 and len(serve.asked) == 1


def test_npz_files_with_pickles_are_refused(serve):
    serve.replace(mnist, npz(x_train=np.array([{}], object), y_train=0, x_test=0, y_test=0))
    with pytest.raises(ValueError, match="allow_pickle"):
        mnist.load_data()


def idx(array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


def test_fashion_mnist(serve, monkeypatch):
    x, y = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28), np.array([7, 9], np.uint8)
    made = [serve(file.name, idx(a)) for file, a in zip(fashion_mnist.FILES, (x, y, x[:1], y[:1]), strict=True)]
    monkeypatch.setattr(fashion_mnist, "FILES", made)
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    np.testing.assert_array_equal(x_train, x)
    np.testing.assert_array_equal(y_train, y)
    assert x_test.shape == (1, 28, 28) and len(fashion_mnist.load()) == 2
    for bad in (b"nothing", gzip.compress(b"\0\0\x08"), gzip.compress(b"\0\0\x08\x01\0\0\0\x09abc"), idx(x)[:-9]):
        monkeypatch.setattr(fashion_mnist, "FILES", [serve(made[0].name, bad), *made[1:]])
        with pytest.raises(DataLossError, match="no IDX file"):
            fashion_mnist.load_data()


def tar(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_cifar10(serve, monkeypatch):
    monkeypatch.setattr(cifar10, "ROWS", 2)
    rows = np.random.default_rng(0).integers(0, 256, (6, 2, 3073), np.uint8)
    names = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)] + ["cifar-10-batches-bin/test_batch.bin"]
    serve.replace(cifar10, tar(**{name: part.tobytes() for name, part in zip(names, rows, strict=True)}))
    (x, y), (x_test, y_test) = cifar10.load_data()
    assert x.shape == (10, 32, 32, 3) and y.shape == (10, 1) and x_test.shape == (2, 32, 32, 3)
    assert y.ravel().tolist() == rows[:5, :, 0].ravel().tolist()
    # row 3 is the second of the second file; a plane is 1024 bytes, a line of it 32
    assert x[3, 4, 5].tolist() == [rows[1, 1, 1 + plane * 1024 + 4 * 32 + 5] for plane in range(3)]
    assert len(cifar10.load("test")) == 2
    serve.replace(cifar10, tar(**{names[0]: b"short"}))
    with pytest.raises(DataLossError, match="must be a file of 6146 bytes, it has 5"):
        cifar10.load_data()
    serve.replace(cifar10, tar(**{names[0]: rows[0].tobytes()}))
    with pytest.raises(DataLossError, match="holds no file 'cifar-10-batches-bin/data_batch_2.bin'"):
        cifar10.load_data()


def test_cifar100(serve, monkeypatch):
    monkeypatch.setattr(cifar100, "TRAIN_ROWS", 3)
    monkeypatch.setattr(cifar100, "TEST_ROWS", 2)
    rows = np.random.default_rng(0).integers(0, 256, (5, 3074), np.uint8)
    folder = "cifar-100-binary"
    serve.replace(
        cifar100, tar(**{f"{folder}/train.bin": rows[:3].tobytes(), f"{folder}/test.bin": rows[3:].tobytes()})
    )
    (x, fine), _ = cifar100.load_data()
    (_, coarse), (_, coarse_test) = cifar100.load_data("coarse")
    assert x.shape == (3, 32, 32, 3)
    assert (coarse.ravel().tolist(), fine.ravel().tolist()) == (rows[:3, 0].tolist(), rows[:3, 1].tolist())
    assert coarse_test.shape == (2, 1)
    with pytest.raises(ValueError, match="label_mode"):
        cifar100.load_data("both")


def test_california_housing(serve):
    x, y = np.arange(8000, dtype=np.float32).reshape(1000, 8), np.arange(1000, dtype=np.float32)
    serve.replace(california_housing, npz(x=x, y=y))
    (x_train, y_train), (x_test, _) = california_housing.load_data(test_split=0.25)
    order = np.arange(1000)
    np.random.RandomState(113).shuffle(order)
    np.testing.assert_array_equal(y_train, y[order][:750])
    assert x_test.shape == (250, 8)
    assert len(california_housing.load("all", version="small")) == 600


def sequences(*rows):
    out = np.empty(len(rows), object)
    out[:] = rows
    return out


def test_imdb(serve):
    x = sequences([1, 5, 9], [2], [7, 8])
    y = np.array([0, 1, 1])
    serve.replace(imdb, npz(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2]))
    serve.replace(imdb, json.dumps({"film": 1}).encode(), "WORD_INDEX")
    rng = np.random.RandomState(113)
    order, order_test = np.arange(3), np.arange(2)
    rng.shuffle(order)
    rng.shuffle(order_test)
    (x_train, y_train), (x_test, y_test) = imdb.load_data()
    assert x_train.tolist() == [[1] + [w + 3 for w in x[i]] for i in order]
    assert y_train.tolist() == y[order].tolist() and y_test.tolist() == y[order_test].tolist()
    few, _ = imdb.load_data(num_words=10, skip_top=5, start_char=None, index_from=0)
    assert sorted(few[0].tolist()) == sorted([[2, 5, 9], [2], [7, 8]])
    dropped, _ = imdb.load_data(num_words=8, oov_char=None, start_char=None, index_from=0)
    assert sorted(dropped[0].tolist()) == sorted([[1, 5], [2], [7]])
    short, _ = imdb.load_data(maxlen=3)
    assert short[0].tolist() == [[1, 5]] and short[1].tolist() == [1]
    with pytest.raises(ValueError, match="Increase maxlen"):
        imdb.load_data(maxlen=1)
    assert imdb.get_word_index() == {"film": 1}
    words, label = next(iter(imdb.load("test")))
    assert words.dtype == np.int32 and words.tolist() == x_test[0] and label == y_test[0]
    assert next(iter(imdb.load().padded_batch(3)))[0].shape == (3, 4)


def test_reuters(serve):
    x = sequences(*[[i, i + 1] for i in range(10)])
    serve.replace(reuters, npz(x=x, y=np.arange(10)))
    (x_train, y_train), (x_test, y_test) = reuters.load_data(test_split=0.3)
    order = np.arange(10)
    np.random.RandomState(113).shuffle(order)
    assert y_train.tolist() + y_test.tolist() == order.tolist() and len(y_train) == 7
    assert x_test[0] == [1, y_test[0] + 3, y_test[0] + 4]
    assert len(reuters.get_label_names()) == 46


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    "x, message",
    [
        (sequences(Evil()), "names builtins.print"),
        (sequences([1, "a"]), "something else than lists of integers"),
        (sequences([1], (2,)), "something else than lists of integers"),
        (np.array([[1, None]], object), "an array of shape"),
    ],
)
def test_archives_that_hold_anything_but_lists_of_integers_are_refused(serve, capsys, x, message):
    serve.replace(reuters, npz(x=x, y=np.arange(1)))
    with pytest.raises(DataLossError, match=message):
        reuters.load_data()
    assert capsys.readouterr().out == ""


def test_a_damaged_archive_is_refused(serve):
    data = npz(x=sequences([1, 2]), y=np.arange(1))
    for bad in (b"nothing", data[: len(data) // 2]):
        serve.replace(reuters, bad)
        with pytest.raises(DataLossError, match="no archive of sequences"):
            reuters.load_data()


def wav(samples, rate=16_000):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, len(samples), "NONE", ""))
        out.writeframes(np.asarray(samples, "<i2").tobytes())
    return file.getvalue()


def test_speech_commands(serve, tmp_path):
    files = {
        "./testing_list.txt": b"yes/3.wav\n",
        "./validation_list.txt": b"no/2.wav\n",
        "./yes/1.wav": wav([100, -200]),
        "./yes/3.wav": wav(np.ones(16_000)),
        "./no/2.wav": wav([3]),
        "./no/4.wav": wav([-32768]),
    }
    serve.replace(speech_commands, tar(**files))
    (x, y), (x_test, y_test) = speech_commands.load_data(["yes", "no"])
    assert x.shape == (2, 16_000) and x.dtype == np.int16 and y.tolist() == [0, 1]
    assert x[0, :3].tolist() == [100, -200, 0]
    assert y_test.tolist() == [0] and x_test.all()
    (waveform, label), *rest = list(speech_commands.load("train", ["no"]))
    assert waveform.dtype == np.float32 and waveform[0] == -1 and label == 0 and not rest
    assert len(speech_commands.load("validation")) == 1
    assert next(iter(speech_commands.load("validation")))[1] == speech_commands.CLASS_NAMES.index("no")
    with pytest.raises(ValueError, match="words must be"):
        speech_commands.load(words=["maybe"])
    broken = tmp_path / "cache" / "datasets" / "speech_commands_v0.02" / "no" / "2.wav"
    broken.write_bytes(wav([3], rate=8000))
    with pytest.raises(DataLossError, match="2.wav.*16000"):
        list(speech_commands.load("validation"))
