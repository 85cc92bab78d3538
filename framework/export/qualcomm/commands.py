"""The commands of the vendor's tools for a kit: names and flags as the vendor documents them.

Reference: https://docs.qualcomm.com/doc/80-63442-10/topic/SNPE_general_tools.html
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

LAYOUTS = {3: "NFC", 4: "NHWC", 5: "NDHWC"}
"""How the axes of inputs and outputs are named, by their number; the converter would take others for granted."""


def converter(kit: Mapping[str, Any]) -> list[str]:
    """The command that makes a .dlc file of the ONNX model."""
    words = ["qairt-converter", "--input_network", "model.onnx", "--output_path", "model.dlc"]
    for side in ("input", "output"):
        for port in kit[f"{side}s"]:
            layout = LAYOUTS.get(len(port["shape"]))
            if layout is not None:
                for flag in (f"--source_model_{side}_layout", f"--desired_{side}_layout"):
                    words += [flag, port["name"], layout]
    for port in kit["inputs"]:
        if port["dtype"] != "float32":
            words += ["--source_model_input_datatype", port["name"], port["dtype"]]
    if kit["quantised"]:
        words += ["--quantization_overrides", "encodings.json"]
    return words


def quantiser(kit: Mapping[str, Any]) -> list[str]:
    """The command that fills in what the encodings leave open, and writes integers."""
    words = ["qairt-quantizer", "--input_dlc", "model.dlc", "--input_list", "input_list.txt"]
    words += ["--output_dlc", "model_quantized.dlc", "--use_per_channel_quantization", "--bias_bitwidth", "32"]
    return words + (["--use_native_input_files"] if _integers(kit) else [])


def runner(kit: Mapping[str, Any], dlc: str) -> list[str]:
    """The command that runs a .dlc file on the inputs of the kit."""
    words = ["snpe-net-run", "--container", dlc, "--input_list", "input_list.txt", "--output_dir", "output"]
    return words + (["--userbuffer_auto", "--use_native_input_files"] if _integers(kit) else [])


def _integers(kit: Mapping[str, Any]) -> bool:
    return any(port["dtype"] != "float32" for port in kit["inputs"])


def _quantises(kit: Mapping[str, Any]) -> bool:
    return bool(kit["quantised"])


def steps(kit: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(what it is for, command), in order."""
    found = [
        ("Convert the model", converter(kit)),
        ("Look at it", ["snpe-dlc-info", "-i", "model.dlc"]),
        ("Run it on the inputs", runner(kit, "model.dlc")),
    ]
    if _quantises(kit):
        prepare = ["snpe-dlc-graph-prepare", "--input_dlc", "model_quantized.dlc"]
        prepare += ["--output_dlc", "model_prepared.dlc", "--htp_socs", "sm8650"]
        found += [
            ("Quantise it", quantiser(kit)),
            ("Prepare it for a chip (here sm8650), so that it loads faster", prepare),
            ("Run it on the device, on the DSP", [*runner(kit, "model_prepared.dlc"), "--use_dsp"]),
        ]
    return found


def script(kit: Mapping[str, Any]) -> str:
    """A shell script that converts, and quantises where there are encodings."""
    commands = [shlex.join(converter(kit))] + ([shlex.join(quantiser(kit))] if _quantises(kit) else [])
    return (
        '#!/bin/sh\n# needs the tools of the Qualcomm AI Runtime SDK in the PATH\nset -eu\ncd "$(dirname "$0")"\n'
        + ("\n".join(commands) + "\n")
    )


def readme(kit: Mapping[str, Any]) -> str:
    """What is in the kit, and what to do with it."""
    ports = "\n".join(
        f"| {side} | `{port['name']}` | {port['dtype']} | {', '.join(map(str, port['shape']))} | `{port['file']}` |"
        for side in ("input", "output")
        for port in kit[f"{side}s"]
    )
    listed = "\n".join(
        f"{i}. {what}:\n\n       {shlex.join(command)}\n" for i, (what, command) in enumerate(steps(kit), 1)
    )
    encoded = (
        "- `encodings.json`: the range of each activation, and the scales of weights (symmetric, for convolutions\n"
        "  one a channel), measured on representative data.\n"
        if kit["quantised"]
        else "- There are no encodings, and the inputs are random, since the kit was written without representative\n"
        "  data: they serve to compare floats, not to quantise.\n"
    )
    return f"""# A model for the Qualcomm AI Runtime SDK

- `model.onnx`: the model in floats, with all sizes known. Images are batch, height, width, channels.
{encoded}- `input_list.txt`: a line for each of {kit["samples"]} runs. The raw files in `inputs/` are
  little-endian, in C order.
- `expected/Result_N/`: the outputs of the float model for line N, in the same form.
- `kit.json`: what is in the table below.

|  | name | dtype | shape | file |
| --- | --- | --- | --- | --- |
{ports}

## Steps

The tools are part of the vendor's SDK, which you download under its own licence. Run them in this folder; `convert.sh`
holds the steps that write files.

{listed}
The outputs come to `output/Result_N/`, to be compared with `expected/Result_N/`.
"""
