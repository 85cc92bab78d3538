"""Files for Snapdragon, with other programs in the place of the vendor's provider."""

import json
import shlex
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest

from lamina import Model, Sequential, export, layers, load_frozen
from lamina.export import ExportError
from lamina.export.onnx.tensors import onnx_package
from lamina.export.qualcomm import provider, writer
from lamina.export.qualcomm.encodings import encodings
from lamina.export.qualcomm.op_trace import converted, rejected

TRACE = {
    "schema_version": 2,
    "subgraph_traces": [
        {"op_mappings": [{"dst_qnn_op_type": "Conv2d"}, {"dst_qnn_op_type": "Relu"}]},
        {"op_mappings": [{"dst_qnn_op_type": "Relu"}]},
    ],
    "summary": {"supported_nodes": 3, "unsupported_nodes": 1},
    "unsupported_nodes": [],
}
RUNTIME = """
import json, os
from pathlib import Path
import numpy as np

RECORD = Path(os.environ["RECORD"])

class Device:
    ep_name = "Provider"

class Node:
    def __init__(self, name):
        self.name = name

class SessionOptions:
    def __init__(self):
        self.entries = {}
    def add_session_config_entry(self, key, value):
        self.entries[key] = value
    def add_provider_for_devices(self, devices, options):
        self.devices, self.provider = len(devices), options

def register_execution_provider_library(name, path):
    RECORD.with_suffix(".registered").write_text(f"{name} {path}")

def get_ep_devices():
    return [Device(), Device()]

def set_default_logger_severity(level):
    pass

class InferenceSession:
    def __init__(self, model, settings):
        with RECORD.open("a") as file:
            file.write(json.dumps([settings.entries, settings.provider, settings.devices]) + "\\n")
        folder = settings.provider.get("dump_qnn_ir_dlc_dir")
        if folder:
            plan = json.loads(os.environ["PLAN"])
            for name in plan["files"]:
                Path(folder, name).write_bytes(b"dlc of " + Path(model).read_bytes()[:4])
            if plan["trace"]:
                Path(folder, "qnn_op_trace.json").write_text(json.dumps(plan["trace"]))
            if plan["error"]:
                raise RuntimeError(plan["error"])
        elif os.environ.get("SIMULATOR"):
            raise RuntimeError(os.environ["SIMULATOR"])
    def get_outputs(self):
        return [Node("output_0")]
    def run(self, names, feeds):
        return [np.load(os.environ["ANSWER"])]
"""


@pytest.fixture
def net():
    return Sequential([layers.Input((5, 5, 2), name="image"), layers.Conv2D(3, 2), layers.ReLU(), layers.Flatten()])


@pytest.fixture
def data():
    return np.random.default_rng(1).normal(size=(4, 5, 5, 2)).astype(np.float32)


class Vendor:
    """A stand-in for the packages of the vendor, which records how it was used."""

    def __init__(self, folder, monkeypatch):
        self.record, self.set = folder / "record.jsonl", monkeypatch.setenv
        packages = folder / "packages"
        packages.mkdir()
        (packages / "onnxruntime.py").write_text(RUNTIME)
        (packages / "onnxruntime_qnn.py").write_text(
            'def get_ep_name():\n    return "Provider"\ndef get_library_path():\n    return "library"\n'
        )
        self.set("PYTHONPATH", str(packages))
        self.set("RECORD", str(self.record))
        monkeypatch.setattr(writer, "require", lambda what: None)
        self.plans()

    def plans(self, files=("model_123.dlc",), trace=TRACE, error=""):
        self.set("PLAN", json.dumps({"files": list(files), "trace": trace, "error": error}))

    def answers(self, array):
        np.save(self.record.with_suffix(".npy"), array)
        self.set("ANSWER", str(self.record.with_suffix(".npy")))

    @property
    def sessions(self):
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@pytest.fixture
def vendor(tmp_path, monkeypatch):
    return Vendor(tmp_path, monkeypatch)


def test_file_and_report(net, data, vendor, tmp_path):
    vendor.answers(np.asarray(net(data[:1])) * 1.001)
    report = net.export(tmp_path / "out.dlc", format="dlc", representative_data=data)
    assert (tmp_path / "out.dlc").read_bytes().startswith(b"dlc of ") and report.bytes == 11
    assert report.ops == {"Conv2d": 1, "Relu": 2} and report.format == "dlc"
    assert report.measured["simulator: largest error"] == pytest.approx(1e-3, rel=1e-2)
    assert "simulator: largest error: 0.001" in str(report) and not report.fallbacks


def test_options_of_the_provider(net, data, vendor, tmp_path):
    vendor.answers(np.asarray(net(data[:1])))
    net.export(tmp_path / "out.dlc", format="dlc", representative_data=data, soc_model=57)
    (first, conversion, devices), (second, simulation, _) = vendor.sessions
    assert first == second == {"session.disable_cpu_ep_fallback": "1"} and devices == 1
    assert conversion["backend_type"] == "ir" and conversion["dump_qnn_ir_dlc"] == "1"
    assert conversion["enable_framework_op_trace"] == "1"
    assert simulation == {"backend_type": "htp", "soc_model": "57", "offload_graph_io_quantization": "0"}
    assert conversion["offload_graph_io_quantization"] == "0"
    assert vendor.record.with_suffix(".registered").read_text() == "Provider library"


def test_outputs_that_differ_are_reported(net, data, vendor, tmp_path):
    vendor.answers(np.asarray(net(data[:1])) + 3)
    with pytest.warns(UserWarning, match="the simulator's outputs differ by .* where 0.02 can be"):
        report = net.export(tmp_path / "out.dlc", format="dlc", representative_data=data)
    assert [op for _, op, how in report.fallbacks if "differ by" in how] == ["model"]


def test_a_simulator_that_fails_is_reported(net, vendor, tmp_path):
    vendor.set("SIMULATOR", "cannot finalise the graph")
    with pytest.warns(UserWarning, match="the simulator does not run the model.*cannot finalise"):
        report = net.export(tmp_path / "out.dlc", format="dlc")
    assert [op for _, op, _ in report.fallbacks] == ["model"]
    assert report.measured == {"simulator": "not run: cannot finalise the graph"} and (tmp_path / "out.dlc").exists()


def test_without_a_check_nothing_is_run(net, vendor, tmp_path):
    assert net.export(tmp_path / "out.dlc", format="dlc", check=False).measured == {}
    assert len(vendor.sessions) == 1


class Curve(layers.Layer):
    def call(self, x):
        return jnp.sinh(x)


def test_refused_ops_are_named_by_layer(vendor, tmp_path):
    net = Sequential([layers.Input((4,)), layers.Dense(3), Curve(name="curve")])
    entry = {"node_name": "curve/Sinh_token_3", "op_type": "Sinh", "reason": "Operators of type `Sinh`\nare unknown"}
    vendor.plans(["a.dlc", "b.dlc"], TRACE | {"unsupported_nodes": [entry]}, "assigned to the default CPU EP")
    (tmp_path / "out.dlc").write_text("older")
    with pytest.raises(ExportError, match="curve: Sinh: Operators of type `Sinh` are unknown") as caught:
        net.export(tmp_path / "out.dlc", format="dlc")
    assert [(gap.op, gap.path) for gap in caught.value.gaps] == [("Sinh", "curve")]
    assert (tmp_path / "out.dlc").read_text() == "older"


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [(["a.dlc", "b.dlc"], "", "wrote 2 files, not one"), ([], "", "wrote 0 files"), (["a.dlc"], "out of disk", "disk")],
)
def test_exactly_one_file_is_demanded(net, vendor, tmp_path, files, error, said):
    vendor.plans(files, TRACE, error)
    with pytest.raises(ExportError, match=said):
        net.export(tmp_path / "out.dlc", format="dlc")
    assert not (tmp_path / "out.dlc").exists()


def test_a_process_that_ends_is_an_error(net, vendor, tmp_path, monkeypatch):
    place = tmp_path / "worker.py"
    place.write_text("import sys; print('no memory', file=sys.stderr); sys.exit(4)")
    monkeypatch.setattr(provider, "WORKER", place)
    with pytest.raises(provider.ProviderError, match="ended with status 4: no memory"):
        net.export(tmp_path / "out.dlc", format="dlc")


def test_missing_packages_name_the_extra(net, tmp_path, monkeypatch):
    monkeypatch.setitem(provider.PACKAGES, "a_package_of_no_one", "onnxruntime-qnn")
    with pytest.raises(ModuleNotFoundError, match=r"onnxruntime-qnn.*lamina\[qualcomm\].*format='dlc_kit'"):
        net.export(tmp_path / "out.dlc", format="dlc")


def test_arguments_are_checked(net, data, vendor, tmp_path):
    place = tmp_path / "out.dlc"
    with pytest.raises(ValueError, match="precision must be"):
        net.export(place, format="dlc", precision="int4")
    with pytest.raises(ValueError, match="precision='int8' needs representative_data"):
        net.export(place, format="dlc", precision="int8")
    with pytest.raises(ValueError, match="is read more than once"):
        net.export(place, format="dlc", representative_data=(x for x in data))
    with pytest.raises(ValueError, match="holds one signature"):
        export.save(net, None, place, format="dlc", signatures={"b": (net, [(1, 5, 5, 2)])})


def test_trace_of_ops():
    assert converted(TRACE) == {"Conv2d": 1, "Relu": 2} and converted({"subgraph_traces": None}) == {}
    refused = [
        {"node_name": "block_1/Mod", "op_type": "Mod", "reason": "not supported"},
        {"node_name": "block_10/Mod_1", "op_type": "Mod", "reason": "Cannot get shape"},
        {"node_name": "", "op_type": "Sign", "reason": None},
    ]
    gaps = rejected({"unsupported_nodes": refused}, ["block_1/Mod", "block_10/Mod", "block_1"])
    assert [gap.path for gap in gaps] == ["block_1", "block_10", ""]
    assert gaps[1].reason == "Cannot get shape (all sizes must be known)" and "without a reason" in gaps[2].reason
    assert rejected({}, []) == []


# ---- the kit


def test_kit_holds_model_inputs_and_outputs(net, data, tmp_path):
    report = net.export(tmp_path / "kit", format="dlc_kit", representative_data=data, samples=3)
    kit = tmp_path / "kit"
    assert {p.name for p in kit.iterdir()} == {
        "model.onnx", "encodings.json", "input_list.txt", "kit.json", "README.md", "convert.sh", "inputs", "expected",
    }  # fmt: skip
    lines = (kit / "input_list.txt").read_text().splitlines()
    assert lines == [f"image:=inputs/{i}/image.raw" for i in range(3)]
    model = load_frozen(kit / "model.onnx")
    for i in range(3):
        given = np.fromfile(kit / "inputs" / str(i) / "image.raw", np.float32).reshape(1, 5, 5, 2)
        wanted = np.fromfile(kit / "expected" / f"Result_{i}" / "output_0.raw", np.float32)
        np.testing.assert_array_equal(given, data[i : i + 1])
        np.testing.assert_allclose(np.asarray(model(given)).reshape(-1), wanted, rtol=1e-5, atol=1e-6)
    given = onnx_package("a test").load(str(kit / "model.onnx")).graph.input[0]
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 5, 5, 2]
    assert report.format == "dlc_kit" and report.bytes > 0


def test_encodings_are_those_of_the_tensors(net, data, tmp_path):
    net.export(tmp_path / "kit", format="dlc_kit", representative_data=data)
    found = json.loads((tmp_path / "kit" / "encodings.json").read_text())
    model = onnx_package("a test").load(str(tmp_path / "kit" / "model.onnx"))
    tensors = {name for node in model.graph.node for name in node.output} | {"image"}
    assert set(found["activation_encodings"]) == tensors and found["version"] == "0.6.1"
    (entry,) = found["activation_encodings"]["image"]
    assert entry["scale"] == pytest.approx((data.max() - data.min()) / 255, rel=1e-6)
    assert entry["offset"] == round(float(data.min()) / entry["scale"]) and entry["is_symmetric"] == "False"
    assert entry["max"] - entry["min"] == pytest.approx(255 * entry["scale"])
    (weights,) = found["param_encodings"].values()
    kernel = np.asarray(net.layers[0].kernel)
    scales = [part["scale"] for part in weights]
    np.testing.assert_allclose(scales, np.abs(kernel).max((0, 1, 2)) / 127, rtol=1e-6)
    assert all(part["offset"] == -128 and part["is_symmetric"] == "True" for part in weights)


def test_encodings_of_several_batches_and_of_wrong_values(net, data, tmp_path):
    net.export(tmp_path / "kit", format="dlc_kit")
    model = onnx_package("a test").load(str(tmp_path / "kit" / "model.onnx"))
    whole = encodings(model, [{"image": x[None]} for x in data])["activation_encodings"]
    parts = [encodings(model, [{"image": x[None]}])["activation_encodings"] for x in data]
    for name, (entry,) in whole.items():
        scales = [part[name][0]["scale"] for part in parts]
        assert entry["scale"] >= max(scales) * (1 - 1e-6)
    with pytest.raises(ValueError, match="infinite or NaN"):
        encodings(model, [{"image": np.full((1, 5, 5, 2), np.nan, np.float32)}])
    with pytest.raises(ValueError, match="holds no batch"):
        encodings(model, [])


def test_commands_of_a_kit(tmp_path):
    image, ids = layers.Input((4, 4, 2), name="image"), layers.Input((3,), dtype="int32", name="ids")
    flat = layers.Flatten()(layers.Embedding(9, 2)(ids))
    net = Model([image, ids], layers.Concatenate()([layers.Flatten()(image), flat]))
    net.export(tmp_path / "kit", format="dlc_kit")
    commands = (tmp_path / "kit" / "convert.sh").read_text()
    words = shlex.split(commands.splitlines()[-1])
    assert words[:3] == ["qairt-converter", "--input_network", "model.onnx"]
    at = words.index("--desired_input_layout")
    assert words[at + 1 : at + 3] == ["image", "NHWC"] and words.count("--desired_input_layout") == 1
    at = words.index("--source_model_input_datatype")
    assert words[at + 1 : at + 3] == ["ids", "int32"] and "--quantization_overrides" not in words
    text = (tmp_path / "kit" / "README.md").read_text()
    assert "--use_native_input_files" in text and "qairt-quantizer" not in text and "inputs are random" in text
    assert subprocess.run(["sh", "-n", tmp_path / "kit" / "convert.sh"], check=False).returncode == 0
    assert (tmp_path / "kit" / "input_list.txt").read_text().splitlines()[0] == (
        "image:=inputs/0/image.raw ids:=inputs/0/ids.raw"
    )


def test_a_second_kit_replaces_the_first_and_nothing_else(net, data, tmp_path):
    kit = tmp_path / "kit"
    net.export(kit, format="dlc_kit", representative_data=data, samples=4)
    (kit / "notes.txt").write_text("mine")
    net.export(kit, format="dlc_kit", samples=2)
    assert sorted(p.name for p in (kit / "inputs").iterdir()) == ["0", "1"]
    assert not (kit / "encodings.json").exists() and (kit / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["kit"]


def test_kit_beside_the_file(net, data, vendor, tmp_path):
    net.export(tmp_path / "out.dlc", format="dlc", representative_data=data, check=False, kit=True)
    assert (tmp_path / "out_kit" / "encodings.json").exists()
    net.export(tmp_path / "out.dlc", format="dlc", check=False, kit=tmp_path / "other")
    assert (tmp_path / "other" / "model.onnx").exists()
