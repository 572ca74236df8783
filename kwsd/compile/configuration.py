"""Configurations of ``aipubuild`` in both generations, from the tensors of a package.

Their keys are known from public write-ups (the 2021 kit of the R329) and from public source (the
Compass tools). Neither compiler was at hand to try them on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from kwsd.errors import ModelError, UsageError
from kwsd.model.package import TensorSpec
from kwsd.runtime.aipu.manifest import TARGET

GRAPH = "aipu.bin"
NETWORK = "model.tflite"
CALIBRATION = "calibration.npy"
FOLDER = "calibration"

COMPASS_FILE = "compass.cfg"
SDK2021_FILE = "sdk2021.cfg"

_TARGET = re.compile(r"Z[1-9]_[0-9]{4}")
_BREAKS_A_LIST = re.compile(r"[\s,;=\[\]]")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")


class Bordered(Protocol):
    """What a compiler has to be told of a network; a `ModelPackage` is one."""

    @property
    def name(self) -> str:
        """For the compiler's messages."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """In the network's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Likewise."""

    @property
    def feature_input(self) -> str:
        """The input that is calibrated where only one can be."""


def check_target(target: str) -> None:
    """Raise `UsageError` where a target is not written as the compiler writes it."""
    if not _TARGET.fullmatch(target):
        raise UsageError(f"--target {target}: must be like {TARGET}, that of the R329")


def check_names(where: str, specs: Iterable[TensorSpec]) -> None:
    """Raise `ModelError` where a tensor's name would break a list of names in two."""
    for spec in specs:
        if _BREAKS_A_LIST.search(spec.name):
            raise ModelError(
                f"tensor {spec.name!r} of {where}: the compiler's configuration cannot hold "
                "such a name; export the network with plain names"
            )


def plain_name(name: str) -> str:
    """A tensor's name without what `check_names` refuses."""
    return _BREAKS_A_LIST.sub("_", name)


def calibration_file(name: str) -> str:
    """Where the steps of an input are, below the folder of the configuration."""
    return f"{FOLDER}/{_NOT_PLAIN.sub('_', name)}.npy"


def check_calibration_files(where: str, inputs: Iterable[TensorSpec]) -> None:
    """Raise `ModelError` where the steps of two inputs would be in one file."""
    places: dict[str, str] = {}
    for spec in inputs:
        place = calibration_file(spec.name)
        other = places.setdefault(place, spec.name)
        if other != spec.name:
            raise ModelError(
                f"inputs {other!r} and {spec.name!r} of {where} would both have their calibration "
                f"in {place}; export the network with names that differ in letters, digits, "
                "'_', '.' or '-'"
            )


def _shapes(specs: tuple[TensorSpec, ...]) -> str:
    return ",".join("[" + ", ".join(map(str, spec.shape)) + "]" for spec in specs)


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ",".join(spec.name for spec in specs)


def _parser(package: Bordered) -> dict[str, str]:
    """Borders: every input and output by name, in the package's order, with its shape."""
    return {
        "model_type": "tflite",
        "model_name": package.name,
        "model_domain": "keyword_spotting",
        "input_model": NETWORK,
        "input": _names(package.inputs),
        "input_shape": _shapes(package.inputs),
        "output": _names(package.outputs),
        "output_dir": ".",
    }


def compass_configuration(package: Bordered, target: str, calibrated: bool = True) -> str:
    """For the Compass tools (Parser, Optimizer, GBuilder); `calibrated` with steps beside it.

    The network's own scales stay (``compat_quantized_model``), states among them. The optimizer's
    keys matter where somebody takes that line out: then both ends of a state must keep one scale.
    """
    steps = {
        "calibration_data": CALIBRATION,
        "calibration_batch_size": "1",
        "dataset": "numpymultiinputdataset",
    }
    return _text(
        {
            "Common": {"mode": "build"},
            "Parser": {**_parser(package), "compat_quantized_model": "true"},
            "Optimizer": {
                **(steps if calibrated else {}),
                "quantize_method_for_weight": "per_channel_symmetric_restricted_range",
                "quantize_method_for_activation": "per_tensor_symmetric_full_range",
                "weight_bits": "8",
                "activation_bits": "8",
                "bias_bits": "32",
                "unify_scales_for_concat": "true",
                "min_compatible_zhouyi_target": target.split("_")[0],
                "output_dir": ".",
            },
            "GBuilder": {"target": target, "outputs": GRAPH},
        }
    )


def sdk2021_configuration(package: Bordered, target: str, calibrated: bool = True) -> str:
    """For the kit that came with the R329 (BuildTool 4.0); `calibrated` with steps beside it."""
    steps = {"calibration_data": calibration_file(package.feature_input)}
    return _text(
        {
            "Common": {"mode": "build"},
            "Parser": {**_parser(package), "input_data_format": "NHWC"},
            "AutoQuantizationTool": {
                "model_name": package.name,
                "quantize_method": "SYMMETRIC",
                "quant_precision": "int8",
                "ops_per_channel": "DepthwiseConv",
                **(steps if calibrated else {}),
                "preprocess_mode": "none",
                "reverse_rgb": "False",
                "label_id_offset": "0",
            },
            "GBuilder": {"target": target, "outputs": GRAPH, "profile": "False"},
        }
    )


def _text(sections: Mapping[str, Mapping[str, str]]) -> str:
    parts = []
    for name, keys in sections.items():
        parts.append("\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())]))
    return "\n\n".join(parts) + "\n"
