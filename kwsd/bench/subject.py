"""Subjects: something that can be run again and again on one runtime, to be measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kwsd.assemble import runtime_options
from kwsd.bench.as_ncnn import write_random_ncnn
from kwsd.bench.as_tflite import write_random_tflite
from kwsd.bench.networks import CEILINGS, NETWORKS
from kwsd.config import load_config
from kwsd.errors import ModelError, RuntimeUnavailable
from kwsd.model.package import load_package
from kwsd.runtime.litert import interpreter_module
from kwsd.runtime.ncnn import ncnn_module
from kwsd.runtime.select import open_session

Once = Callable[[], object]
SEED = 5
BLOBS = "blobs.json"

RUNTIMES = {
    "package": ("aipu", "litert", "ncnn"),
    "tflite": ("litert",),
    "table": ("litert", "ncnn", "ncnn-int8"),
}
"""What may run each kind of model, if it is there. ``ncnn-int8`` has the scales for int8 sums."""


@dataclass(frozen=True)
class Subject:
    """What is to be measured; plain values, so that another process can open it."""

    kind: str
    """``package``, ``tflite`` (a file) or ``ncnn`` (a folder made by `write_table`)."""

    path: Path
    """Where it is."""

    runtime: str
    """A name in `RUNTIMES`."""

    threads: int = 1
    """Of the runtime, where it can be told."""


def write_table(name: str, runtime: str, folder: Path, threads: int) -> Subject:
    """Write the network of a layer table in the format of a runtime.

    Parameters
    ----------
    name : str
        In `NETWORKS` or `CEILINGS`.
    runtime : str
        litert, ncnn or ncnn-int8.
    folder : Path
        Empty, gets the files.
    threads : int
        For the subject.
    """
    table = (NETWORKS | CEILINGS)[name]()
    if runtime == "litert":
        path = folder / f"{name}.tflite"
        path.write_bytes(write_random_tflite(table, SEED))
        return Subject("tflite", path, runtime, threads)
    network = write_random_ncnn(table, runtime == "ncnn-int8", SEED)
    (folder / "net.param").write_bytes(network.files.param)
    (folder / "net.bin").write_bytes(network.files.weights)
    blobs = {"inputs": network.inputs, "outputs": network.outputs}
    (folder / BLOBS).write_text(json.dumps(blobs))
    return Subject("ncnn", folder, runtime, threads)


def size_bytes(subject: Subject) -> int:
    """Of the files that hold the network."""
    if subject.kind == "package" and subject.runtime == "ncnn":
        return sum(file.stat().st_size for file in subject.path.glob("model.ncnn.*"))
    if subject.kind == "package":
        return load_package(subject.path).network.stat().st_size
    if subject.kind == "tflite":
        return subject.path.stat().st_size
    return sum((subject.path / name).stat().st_size for name in ("net.param", "net.bin"))


def open_subject(subject: Subject) -> Once:
    """Load it; what comes back makes one inference, input and output included.

    Raises
    ------
    RuntimeUnavailable, ModelError
        It cannot run here.
    """
    if subject.kind == "package":
        return _open_package(subject)
    return _open_tflite(subject) if subject.kind == "tflite" else _open_ncnn(subject)


def _open_package(subject: Subject) -> Once:
    package = load_package(subject.path)
    options = runtime_options(load_config().runtime)
    session, choice = open_session(package, (subject.runtime,), options)
    if choice.name != subject.runtime:
        raise RuntimeUnavailable(f"{subject.runtime}: {choice.reason}")
    rng = np.random.default_rng(SEED)
    inputs: dict[str, Any] = {}
    for spec in package.inputs:
        limits = np.iinfo(spec.dtype)
        inputs[spec.name] = rng.integers(limits.min, limits.max, spec.shape, spec.dtype)
    return lambda: session.step(inputs)


def _open_tflite(subject: Subject) -> Once:
    try:
        interpreter = interpreter_module().Interpreter(
            model_path=str(subject.path), num_threads=subject.threads
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{subject.path} cannot be loaded by LiteRT: {reason}") from None
    rng = np.random.default_rng(SEED)
    inputs = [
        (detail["index"], _random(rng, tuple(detail["shape"]), np.dtype(detail["dtype"])))
        for detail in interpreter.get_input_details()
    ]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def once() -> object:
        for index, value in inputs:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return once


def _random(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype[Any]) -> Any:
    if kind.kind in "iu" and kind.itemsize <= 2:
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, kind)
    return rng.standard_normal(shape).astype(kind)


def _open_ncnn(subject: Subject) -> Once:
    ncnn = ncnn_module()
    net = ncnn.Net()
    net.opt.num_threads = subject.threads
    param, weights = subject.path / "net.param", subject.path / "net.bin"
    if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
        raise ModelError(f"{subject.path}: NCNN does not take the network")
    blobs = json.loads((subject.path / BLOBS).read_text())
    rng = np.random.default_rng(SEED)
    # NCNN looks at the memory of the arrays: they must live as long as it does.
    arrays = {k: rng.standard_normal(v).astype(np.float32) for k, v in blobs["inputs"].items()}

    def once() -> object:
        extractor = net.create_extractor()
        for name, values in arrays.items():
            extractor.input(name, ncnn.Mat(values))
        return [np.array(extractor.extract(name)[1]) for name in blobs["outputs"]]

    return once
