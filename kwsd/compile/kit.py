"""Kit: the folder that goes to the machine with the compiler, complete in itself."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kwsd.compile.calibration import Steps, real_values
from kwsd.compile.configuration import (
    CALIBRATION,
    COMPASS_FILE,
    FOLDER,
    GRAPH,
    NETWORK,
    SDK2021_FILE,
    calibration_file,
    check_calibration_files,
    check_names,
    compass_configuration,
    sdk2021_configuration,
)
from kwsd.errors import OutputError
from kwsd.model.package import ModelPackage
from kwsd.model.write import archive

README = """\
{name} {version} for the AIPU, target {target}

On the machine with the compiler, in this folder:

  aipubuild {compass}     Compass tools (Parser, Optimizer, GBuilder)
  aipubuild {sdk2021}     the 2021 kit of the R329 (BuildTool 4.0), if it takes several inputs

Either gives {graph}. Bring it back beside the package and take it in:

  kwsmodel compile {name} --target {target} --graph {graph}

{network:24} the network; its inputs and outputs, states among them, are the borders
{calibration:24} for the Compass tools: one dictionary, by input [{steps}, ...], real numbers
{folder:24} for the 2021 kit and others: the same, one file an input
{stored:24} the same as stored integers, without pickle

The first configuration keeps the network's own scales (compat_quantized_model) and then needs no
calibration. A compiler that quantises again may give the two ends of a state different scales;
kwsd converts, the recorded steps of the package decide whether the result is good enough.
None of this was tried with a vendor's compiler.
"""

STORED = "calibration.npz"


def write_kit(folder: Path, package: ModelPackage, target: str, steps: Steps) -> list[Path]:
    """Write everything that ``aipubuild`` needs.

    Parameters
    ----------
    folder : Path
        Made if it is not there; in an earlier kit files of the same names are replaced.
    package : ModelPackage
        The model.
    target : str
        Such as ``Z1_0701``.
    steps : dict of str to ndarray
        Inputs of recorded steps, see `kwsd.compile.calibration`.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    OutputError
        The folder cannot be written, or holds something and is no kit.
    ModelError
        A tensor's name cannot stand in the compiler's configuration, or two inputs would share a
        file.
    """
    check_names(package.name, (*package.inputs, *package.outputs))
    check_calibration_files(package.name, package.inputs)
    files = kit_files(package, target, steps)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / COMPASS_FILE).is_file():
        raise OutputError(
            f"{folder} is there and is no kit of kwsmodel compile: name another folder with --work"
        )
    try:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from None
    return [folder / name for name in files]


def kit_files(package: ModelPackage, target: str, steps: Steps) -> Mapping[str, bytes]:
    """The files of a kit by name."""
    real = {spec.name: real_values(steps[spec.name], spec) for spec in package.inputs}
    # One sample has no batch dimension: the tools' loader adds it.
    samples = {name: values[:, 0] if values.ndim > 2 else values for name, values in real.items()}
    files = {
        NETWORK: package.network.read_bytes(),
        COMPASS_FILE: compass_configuration(package, target).encode(),
        SDK2021_FILE: sdk2021_configuration(package, target).encode(),
        CALIBRATION: _npy(np.array(samples, dtype=object), pickled=True),
        STORED: archive(steps),
    }
    for name, values in samples.items():
        files[calibration_file(name)] = _npy(values)
    files["README.txt"] = README.format(
        name=package.name,
        version=package.version,
        target=target,
        compass=COMPASS_FILE,
        sdk2021=SDK2021_FILE,
        graph=GRAPH,
        network=NETWORK,
        calibration=CALIBRATION,
        folder=f"{FOLDER}/",
        stored=STORED,
        steps=len(steps[package.feature_input]),
    ).encode()
    return files


def _npy(array: NDArray[Any], pickled: bool = False) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=pickled)
    return data.getvalue()
