"""Commands on models of every format, in process."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import lamina
from lamina import Input, Sequential, layers
from lamina.cli import COMMANDS
from lamina.cli.main import main

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model = Sequential(
        [
            Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="stem"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(3, name="head"),
        ],
        name="tiny",
    )
    model.save(folder / "m.keras")
    model.save_weights(folder / "weights")
    np.savez(folder / "data.npz", image=RNG.uniform(0, 1, (8, 6, 6, 1)).astype("float32"))
    for name, format in (("m.pb", "frozen"), ("m.onnx", "onnx"), ("m.tflite", "tflite"), ("sm", "saved_model")):
        model.export(folder / name, format=format)
    model.export(folder / "hlo", format="stablehlo")
    (folder / "made.py").write_text(
        "import jax.numpy as jnp\nfrom lamina import Input, Sequential, layers\n"
        "def model():\n    return Sequential([Input((3,)), layers.Dense(2)])\n"
        "def pair():\n    return lambda x: jnp.tanh(x) * 2.0, [(None, 3)]\n"
        "def wrong():\n    return 3\n"
    )
    return folder


READABLE = ["m.keras", "sm", "m.pb", "m.onnx", "m.tflite", "hlo"]


@pytest.fixture
def lamina_command(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def call(text, code=0):
        assert main(text.split()) == code, capsys.readouterr()
        captured = capsys.readouterr()
        return json.loads(captured.out) if "--json" in text and captured.out else captured.out + captured.err

    return call


def arrays(path):
    """The arrays of an .npz file."""
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def expected(folder):
    return lamina.load_frozen(folder / "m.pb")(arrays(folder / "data.npz")["image"])


@pytest.mark.parametrize("name", READABLE)
def test_run_gives_what_the_model_gives(lamina_command, folder, name):
    out = lamina_command(f"run {name} --data data.npz --output out.npz --json")
    assert out["outputs"]["output_0"]["shape"] == [8, 3]
    np.testing.assert_allclose(arrays(folder / "out.npz")["output_0"], expected(folder), rtol=1e-5, atol=1e-6)


def test_run_on_random_inputs_raw_files_and_parts(lamina_command, folder):
    first, again, other = (lamina_command(f"run m.keras --values --batch 3 --seed {s} --json") for s in (1, 1, 2))
    assert first == again != other and np.shape(first["outputs"]["output_0"]["values"]) == (3, 3)
    images = arrays(folder / "data.npz")["image"]
    for i in range(2):
        images[i].tofile(folder / f"{i}.raw")
    (folder / "list.txt").write_text("# samples\n0.raw\nimage:=1.raw\n")
    out = lamina_command("run m.keras --data list.txt --values --json")
    np.testing.assert_allclose(out["outputs"]["output_0"]["values"], expected(folder)[:2], rtol=1e-4, atol=1e-6)
    np.save(folder / "one.npy", images[:1])
    assert "(1, 4, 4, 4)" in lamina_command("run m.keras --data one.npy --fetch stem")


def test_outputs_of_any_name_are_written(lamina_command, folder):
    (folder / "named.py").write_text(
        "import jax.numpy as jnp\n"
        "def make():\n    return lambda x: {'file': x + 1, 'low': x.astype(jnp.bfloat16)}, [(None, 2)]\n"
    )
    lamina_command("run named.py:make --batch 2 -o named.npz")
    found = arrays(folder / "named.npz")
    assert sorted(found) == ["file", "low"] and found["low"].dtype == np.float32
    np.testing.assert_allclose(found["file"] - 1, found["low"], atol=0.01)


@pytest.mark.parametrize("name", READABLE)
def test_info_of_every_format(lamina_command, folder, name):
    out = lamina_command(f"info {name} --json")
    assert out["inputs"] == [{"name": "image", "shape": [None, 6, 6, 1], "dtype": "float32"}]
    assert [o["name"] for o in out["outputs"]] == ["output_0"]
    names = {"m.keras": "Conv", "sm": "Conv2D", "m.pb": "Conv2D", "m.onnx": "Conv", "m.tflite": "CONV_2D"}
    assert names.get(name, "convolution") in out["ops"] and out["bytes"] > 500
    assert "image  float32 (None, 6, 6, 1)" in lamina_command(f"info {name}")
    if name != "hlo":
        assert out["parameters"] >= 9 * 4 + 12 and out["precision"] == "float32"


def test_info_by_layer_of_weights_and_of_files_for_snapdragon(lamina_command, folder):
    rows = {row["layer"]: row for row in lamina_command("info m.keras --layers --json")["layers"]}
    assert list(rows) == ["stem", "pool", "head"] and rows["head"]["parameters"] == 15
    assert rows["stem"]["output"] == "float32 (batch, 4, 4, 4)" and rows["stem"]["ops"][0] == "Conv"
    assert "stem" in lamina_command("info m.keras --layers")
    out = lamina_command("info weights --json")
    assert out["parameters_by_dtype"] == {"float32": 9 * 4 + 4 + 15}
    with zipfile.ZipFile(folder / "m.dlc", "w") as archive:
        archive.writestr("model", "x" * 30)
    out = lamina_command("info m.dlc --json")
    assert out["entries"] == [{"name": "model", "bytes": 30}] and out["bytes"] == (folder / "m.dlc").stat().st_size
    assert "vendor's runtime only" in lamina_command("run m.dlc", code=2)


def test_export_of_files_and_functions(lamina_command, folder):
    out = lamina_command("export m.keras a.tflite --json")
    assert out["format"] == "tflite" and out["bytes"] == (folder / "a.tflite").stat().st_size
    lamina_command("export made.py:pair fn.onnx")
    x = np.asarray([[0.5, 1.0, -2.0]], "float32")
    np.testing.assert_allclose(lamina.load_frozen(folder / "fn.onnx")(x), np.tanh(x) * 2, rtol=1e-6)
    lamina_command("export made:model b.pb --batch 4")
    assert lamina_command("info b.pb --json")["inputs"][0]["shape"] == [4, 3]
    assert "must give a model, a Graph or a pair" in lamina_command("export made.py:wrong c.pb", code=2)
    assert "Did you mean 'pair'" in lamina_command("export made.py:pairs c.pb", code=2)
    lamina_command("export m.keras opt.onnx --opset 18 --option optimize=false")
    assert "none of them 'precision'" in lamina_command("export m.keras c.pb --precision int8", code=2)
    assert "must end in" in lamina_command("export m.keras c.foo", code=2)


def test_gaps_are_a_finding(lamina_command, folder, monkeypatch):
    (folder / "gap.py").write_text(
        "import jax\nimport jax.numpy as jnp\ndef make():\n    return lambda x: jnp.linalg.eigh(x)[0], [(3, 3)]\n"
    )
    out = lamina_command("export gap.py:make gap.tflite --json", code=1)
    assert out["gaps"] and "eigh" in out["gaps"][0]["op"] and not (folder / "gap.tflite").exists()
    out = lamina_command("check gap.py:make --target tflite --target stablehlo --json", code=1)
    by_format = {row["format"]: row for row in out["formats"]}
    assert by_format["tflite"]["gaps"] and not by_format["tflite"]["ok"] and by_format["stablehlo"]["ok"]
    assert "tflite: cannot be written" in lamina_command("check gap.py:make --target tflite", code=1)


def test_convert_and_quantize(lamina_command, folder):
    lamina_command("convert m.onnx again.tflite")
    assert lamina_command("diff m.keras again.tflite --outputs-only --json")["equal"]
    out = lamina_command("quantize m.pb small.tflite --representative data.npz --calibration percentile --json")
    assert out["precision"] == "int8"
    known = lamina_command("info small.tflite --json")
    assert known["precision"] == "int8" and "QUANTIZE" in known["ops"]
    lamina_command("diff m.keras small.tflite --outputs-only --data data.npz --tolerance 0.1")
    assert "different" in lamina_command("diff m.keras small.tflite --outputs-only --tolerance 1e-7", code=1)
    lamina_command("quantize m.keras half.tflite --precision float16")
    assert lamina_command("info half.tflite --json")["precision"] == "float16"
    assert "Pass --representative" in lamina_command("quantize m.keras c.tflite", code=2)


def test_quantize_tells_the_error_of_each_layer(lamina_command, folder):
    out = lamina_command("quantize m.keras n.tflite --representative data.npz --numerics --json")
    assert out["precision"] == "int8"
    layers_told = json.dumps(out["numerics"])
    assert "stem" in layers_told and "head" in layers_told
    text = lamina_command("quantize m.onnx n.onnx --representative data.npz --numerics errors.svg")
    assert "stem" in text and text.startswith("onnx 'n.onnx'")
    assert (folder / "errors.svg").read_text().lstrip().startswith("<")
    assert "Pass --representative" in lamina_command("quantize m.keras n.tflite --precision float16 --numerics", code=2)


def test_diff_finds_what_differs(lamina_command, folder):
    assert "equal" in lamina_command("diff m.keras m.keras")
    model = lamina.models.load_model(folder / "m.keras")
    model.layers[-1].bias.assign(model.layers[-1].bias + 1)
    model.save(folder / "other.keras")
    out = lamina_command("diff m.keras other.keras --layers --json", code=1)
    (change,) = out["structure"]
    assert (change["kind"], change["layer"], change["op"]) == ("changed", "head", "Add")
    assert out["outputs"][0]["largest_difference"] == pytest.approx(1, abs=1e-5)
    assert out["layers"][0]["layer"] == "head" and out["layers"][-1]["largest_difference"] == 0
    assert "'head/bias': values differ by up to 1" in lamina_command("diff m.keras other.keras", code=1)
    out = lamina_command("diff m.keras other.keras --structure-only --json", code=1)
    assert "outputs" not in out
    assert "is no graph of layers" in lamina_command("diff m.keras hlo", code=2)
    out = lamina_command("diff m.keras made.py:pair --json", code=1)
    assert out["structure"][0]["kind"] == "interface" and "must have shape" in out["not_run"]
    lamina_command("diff m.keras made.py:pair --outputs-only", code=2)
    lamina_command("diff m.keras hlo --outputs-only")


def test_view_writes_a_page_or_a_drawing(lamina_command, folder):
    assert lamina_command("view m.keras --json")["path"] == "m.keras.html"
    assert "stem" in (folder / "m.keras.html").read_text()
    lamina_command("view m.onnx --compare m.keras -o compared.html")
    assert '"state":"changed"' in (folder / "compared.html").read_text()
    lamina_command("view m.keras --optimize -o drawing.svg")
    assert (folder / "drawing.svg").read_text().startswith("<svg")
    assert "must end in" in lamina_command("view m.keras -o drawing.gif", code=2)


def test_bench_and_profile(lamina_command):
    out = lamina_command("bench m.tflite --batch 1,4 --seconds 0.05 --threads 2 --json")
    assert [r["batch"] for r in out["results"]] == [1, 4]
    assert all(r["calls"] >= 2 and 0 < r["min"] <= r["p50"] <= r["p99"] <= r["max"] for r in out["results"])
    assert "samples/s" in lamina_command("bench m.keras --seconds 0.05")
    assert "--batch must be" in lamina_command("bench m.keras --batch 1,x", code=2)
    lamina_command("export m.keras fixed.pb --batch 2")
    assert "has a batch of 2" in lamina_command("bench fixed.pb --batch 4", code=2)
    out = lamina_command("profile m.keras --repeat 2 --json")
    assert {row["op"] for row in out["rows"]} >= {"Conv", "Relu", "MatMul"} and out["whole"] > 0
    assert sum(row["share"] for row in out["rows"]) == pytest.approx(1)
    out = lamina_command("profile m.keras --repeat 2 --by layer --json")
    assert {row["layer"] for row in out["rows"]} == {"stem", "pool", "head"}
    assert "one by one" in lamina_command("profile m.onnx --repeat 2 --by kind --top 1")


def test_compat_is_made_from_the_rules(lamina_command):
    out = lamina_command("compat --json")
    assert out["Conv"] == {"onnx": "native", "tensorflow": "native", "tflite": "native"}
    assert set(lamina_command("compat --target frozen --op Conv --json")["Conv"]) == {"tensorflow"}
    text = lamina_command("compat")
    assert len(text.splitlines()) == len(out) + 1 + 3 and "tflite: " in text
    missing = lamina_command("compat --missing --json")
    assert all(r not in ("native", "expanded") for row in missing.values() for r in row.values())
    assert "Did you mean 'tflite'" in lamina_command("compat --target tflit", code=2)
    assert lamina_command("compat --op Convv", code=2).startswith("lamina compat: there is no op 'Convv'. Did you mean")


def test_check_writes_reads_and_compares(lamina_command):
    out = lamina_command("check m.keras --json")
    rows = {row["format"]: row for row in out["formats"]}
    assert set(rows) == {"saved_model", "frozen", "onnx", "tflite", "stablehlo"}
    assert all(row["ok"] and row["outputs"][0]["relative"] < 1e-4 and not row["gaps"] for row in rows.values())
    text = lamina_command("check m.keras --target tflite --precision int8 --representative data.npz --data data.npz")
    assert text.startswith("tflite: ok") and "(int8)" in text
    strict = "check m.keras --target tflite --precision int8 --representative data.npz --tolerance 1e-9"
    assert "too far" in lamina_command(strict, code=1)


@pytest.mark.parametrize(
    "text, said",
    [
        ("info nowhere.onnx", "there is nothing at 'nowhere.onnx'"),
        ("info made.py", "is of no known format"),
        ("run weights", "holds no model"),
        ("run m.keras --data nowhere.npz", "no file 'nowhere.npz'"),
        ("run m.keras --data m.keras", "must end in .npz"),
        ("run m.keras --data broken.npz", "is no .npz file"),
        ("run m.keras --data other.npz", "has no array for 'image'"),
        ("run m.keras --output x.txt", "--output must end in .npz"),
        ("run sm --signature nope", "has no signature 'nope'"),
        ("run broken.tflite", "damaged"),
        ("info broken.dlc", "is no .dlc file"),
        ("export m.keras x.onnx --option opset", "must be NAME=VALUE"),
        ("demo --epochs 0", "--epochs must be"),
    ],
)
def test_errors_are_one_line(lamina_command, folder, text, said):
    (folder / "broken.npz").write_bytes(b"PK nothing")
    np.savez(folder / "other.npz", a=np.zeros(1), b=np.zeros(1))
    (folder / "broken.tflite").write_bytes(b"TFL3" * 5)
    (folder / "broken.dlc").write_bytes(b"no zip")
    out = lamina_command(text, code=2)
    assert said in out and out.startswith(f"lamina {text.split()[0]}: ")
    assert len(out.splitlines()) == 1 and "Traceback" not in out
    assert "Traceback" in lamina_command(text + " --debug", code=2)


def test_names_do_not_steer_the_terminal(lamina_command, folder):
    (folder / "bad\x1b[31m.onnx").write_bytes(b"")
    (folder / "names.py").write_text("def make():\n    return lambda x: {'a\\x1b[31m': x + 1}, [(None, 2)]\n")
    for text, code in (("info bad\x1b[31m.onnx", 2), ("run names.py:make --values", 0), ("info names.py:make", 0)):
        assert "\x1b" not in lamina_command(text, code)


def test_wrong_usage(capsys):
    for arguments, said in ((["viw"], "Did you mean 'view'"), ([], "command"), (["run"], "model")):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_json(capsys, name):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0 and f"\n  lamina {name}" in out and "--json" in out and "Exit codes" in out


def test_the_program_itself(folder):
    command = [sys.executable, "-m", "lamina.cli.main"]
    out = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert all(name in out.stdout for name in COMMANDS)
    out = subprocess.run([*command, "info", folder / "m.pb", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout)["format"] == "frozen"
