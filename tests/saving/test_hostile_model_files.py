"""Model files that are damaged, or made to do harm: always a ValueError, never code, links, or a full memory."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest

from lamina import Input, Sequential, layers
from lamina.saving import load_model
from lamina.wire.errors import FileFormatError

h5py = pytest.importorskip("h5py")


@pytest.fixture
def model():
    return Sequential([Input((4,)), layers.Dense(3, name="one")])


@pytest.fixture
def entries(model, tmp_path):
    """The entries of a good archive."""
    model.save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, entries, kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(name, data)
    return path


def hdf5(fill):
    data = io.BytesIO()
    with h5py.File(data, "w") as root:
        fill(root)
    return data.getvalue()


def refused(path, match=None, kind=FileFormatError):
    with pytest.raises(kind, match=match):
        load_model(path)


def test_a_good_one_is_read(entries, tmp_path):
    assert load_model(pack(tmp_path / "m.keras", entries)).built
    assert load_model(pack(tmp_path / "m.keras", entries, zipfile.ZIP_DEFLATED)).built


@pytest.mark.parametrize("name", ["../evil", "/evil", "assets/../../evil", "c:/evil", "a\\b", "./evil"])
def test_names_that_lead_out(entries, tmp_path, name):
    refused(pack(tmp_path / "m.keras", [*entries.items(), (name, b"x")]), "leads out of it")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_not_whole(entries, tmp_path):
    path = tmp_path / "m.keras"
    refused(pack(path, [*entries.items(), ("config.json", b"{}")]), "two entries")
    refused(pack(path, {k: v for k, v in entries.items() if k != "config.json"}), "no config.json")
    refused(pack(path, {k: v for k, v in entries.items() if not k.endswith("h5")}), "no model.weights.h5")
    path.write_bytes(b"PK\x03\x04")
    refused(path, "damaged")
    path.write_bytes(b"something else")
    refused(path, "neither")
    path.write_bytes(b"")
    refused(path, "neither")


def test_cut_and_flipped_archives(model, entries, tmp_path):
    whole = pack(tmp_path / "m.keras", entries).read_bytes()
    for size in range(4, len(whole), len(whole) // 60):
        (tmp_path / "m.keras").write_bytes(whole[:size])
        refused(tmp_path / "m.keras")
    start = whole.index(b"\x89HDF")
    for place in range(start, whole.index(b"PK\x01\x02"), 997):  # the bytes of the weights have a checksum
        (tmp_path / "m.keras").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(tmp_path / "m.keras")


def test_an_entry_that_would_grow(entries, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, entries[name])
        with archive.open("model.weights.h5", "w") as file:
            for _ in range(80):
                file.write(bytes(1 << 20))
    refused(tmp_path / "m.keras", "unpacks")


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b"{", b"\xff\xfe", b"3", b"{}", b'{"class_name": "Sequential", "config": 3}', b'{"config": {}}'],
)
def test_configurations_that_are_none(entries, tmp_path, text):
    refused(pack(tmp_path / "m.keras", {**entries, "config.json": text}), None, ValueError)


def test_configurations_of_other_things(entries, tmp_path):
    def config(value):
        return pack(tmp_path / "m.keras", {**entries, "config.json": json.dumps(value).encode()})

    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}, "registered_name": None}
    refused(config(dense), "not a model")
    shell = {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": "os>system"}
    refused(config(shell), "system", ValueError)
    layer = {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"}
    inner = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": layer}, "registered_name": None}
    refused(config({"class_name": "Sequential", "config": {"layers": [inner]}}), "eval", ValueError)
    start, end = '{"class_name": "Sequential", "config": {"layers": [', "]}}"
    for depth in (300, 5000):
        text = start * depth + json.dumps(dense) + end * depth
        refused(pack(tmp_path / "m.keras", {**entries, "config.json": text}), None, ValueError)


def test_a_vocabulary_in_another_file_is_not_read(entries, tmp_path):
    (tmp_path / "secret.txt").write_text("a\nb")
    config = {"vocabulary": str(tmp_path / "secret.txt"), "name": "words"}
    inner = {"module": "keras.layers", "class_name": "StringLookup", "config": config, "registered_name": None}
    outer = {"module": "keras", "class_name": "Sequential", "config": {"layers": [inner]}, "registered_name": None}
    refused(pack(tmp_path / "m.keras", {**entries, "config.json": json.dumps(outer)}), "secret.*not read")


def test_a_small_file_cannot_ask_for_a_huge_model(entries, tmp_path):
    config = json.loads(entries["config.json"])
    config["config"]["layers"][1]["config"]["units"] = 10**10
    path = pack(tmp_path / "m.keras", {**entries, "config.json": json.dumps(config).encode()})
    refused(path, "far more than the weights", ValueError)


def write_weights(entries, tmp_path, fill):
    return pack(tmp_path / "m.keras", {**entries, "model.weights.h5": hdf5(fill)})


def test_links_in_weights(entries, tmp_path):
    (tmp_path / "secret.h5").write_bytes(hdf5(lambda root: root.create_dataset("x", data=np.ones(3))))

    def external(root):
        root["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")

    def soft(root):
        root["layers/dense/vars/0"] = h5py.SoftLink("/elsewhere")

    def cycle(root):
        root.create_group("layers")["again"] = root["/"]

    def elsewhere(root):
        group = root.create_group("layers/dense/vars")
        group.create_dataset("0", (4, 3), "f4", external=[(str(tmp_path / "secret.h5"), 0, 48)])

    def virtual(root):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (3,))
        root.create_group("layers/dense/vars").create_virtual_dataset("0", layout)

    for fill, match in (
        (external, "is a link"),
        (soft, "is a link"),
        (cycle, "twice"),
        (elsewhere, "in another file"),
        (virtual, "in another file"),
    ):
        refused(write_weights(entries, tmp_path, fill), match)


def test_shapes_and_dtypes_in_weights(entries, tmp_path):
    def huge(root):
        root.create_dataset("layers/dense/vars/0", (1 << 40,), "f4", chunks=(1024,), fillvalue=1.0)

    def words(root):
        root["layers/dense/vars/0"] = np.full((4, 3), "x", h5py.string_dtype())
        root["layers/dense/vars/1"] = np.zeros(3, "f4")

    def pairs(root):
        root["layers/dense/vars/0"] = np.zeros((4, 3), [("a", "f4"), ("b", "f4")])

    def empty(root):
        root["layers/dense/vars/0"] = h5py.Empty("f4")

    def wrong(root):
        root["layers/dense/vars/0"] = np.zeros((4, 5), "f4")
        root["layers/dense/vars/1"] = np.zeros(3, "f4")

    def more(root):
        root["layers/dense/vars/0"] = np.zeros((4, 3), "f4")
        root["layers/dense/vars/1"] = np.zeros(3, "f4")
        root["layers/dense_1/vars/0"] = np.zeros(3, "f4")

    for fill, match in (
        (huge, "declares"),
        (words, "should be numbers"),
        (pairs, "has the dtype"),
        (empty, "no shape"),
        (wrong, r"'one/kernel' has shape \(4, 3\), in the file it has \(4, 5\)"),
        (more, "unknown to the model: 'layers/dense_1/vars/0'"),
        (lambda root: None, "Missing in the file: 'one/kernel' and 'one/bias'"),
    ):
        refused(write_weights(entries, tmp_path, fill), match, ValueError)
    refused(pack(tmp_path / "m.keras", {**entries, "model.weights.h5": b"no HDF5"}), "not a whole HDF5 file")


def test_cut_hdf5(model, tmp_path):
    model.save_weights(tmp_path / "w.weights.h5")
    whole = (tmp_path / "w.weights.h5").read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "w.weights.h5").write_bytes(whole[:size])
        with pytest.raises(FileFormatError):
            model.load_weights(tmp_path / "w.weights.h5")


def test_encrypted_entries(entries, tmp_path):
    path = pack(tmp_path / "m.keras", entries)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, place + 8, 1)
    path.write_bytes(bytes(data))
    refused(path, "encrypted")
