"""``kwsmodel compile``: the kit for the compiler, and a graph taken into the package.

The compiler is a fake: a script that copies a graph of the AIPU test double. No vendor's compiler
was ever run on a kit.
"""

import configparser
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from aipu_double.container import R329, container
from aipu_double.packages import AffineSession, affine_package
from model_fixture import tone_bursts

from kwsd.compile.adopt import adopt_graph
from kwsd.compile.calibration import StepRecorder, real_values, record_steps
from kwsd.compile.kit import write_kit
from kwsd.config import load_config
from kwsd.errors import MissingFileError, ModelError, OutputError
from kwsd.kwsmodel import main
from kwsd.model.package import load_package
from kwsd.model.verify import verify
from kwsd.runtime.aipu.manifest import load_manifest, tensor_bytes
from kwsd.runtime.aipu.runtime import AipuRuntime
from kwsd.runtime.aipu.status import DATA_TYPES
from kwsd.runtime.litert import LiteRtRuntime

pytest_plugins = ("aipu_double.fixtures",)


@pytest.fixture
def package(tone_model, tmp_path):
    """A copy of the tone package."""
    return load_package(shutil.copytree(tone_model, tmp_path / "tone"))


@pytest.fixture
def config():
    return load_config(environment={"XDG_CONFIG_HOME": "/gone"})


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "bursts.wav"
    sf.write(path, tone_bursts(2.0), 16000, subtype="PCM_16")
    return path


def described(specs, convention=lambda s: (1 / s.scale, -s.zero_point)):
    return [(tensor_bytes(s), DATA_TYPES[s.dtype], *convention(s)) for s in specs]


def graph_file(package, path, inputs=None, outputs=None, **header):
    """What a compiler would give for a package."""
    inputs, outputs = inputs or package.inputs, outputs or package.outputs
    path.write_bytes(container(described(inputs), described(outputs), **header))
    return path


def contents(folder):
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def test_recorder_keeps_few_steps_evenly_spread():
    recorder = StepRecorder(type("S", (AffineSession,), {"inputs": (), "outputs": ()})(), 16)
    for number in range(1000):
        features = np.full((1, 2, 1, 40), number % 128, np.int8)
        recorder.step({"features": features, "s0_in": np.zeros((1, 4, 1, 8), np.int8)})
    kept = recorder.steps()["features"]
    assert 8 <= len(kept) <= 16
    expected = np.arange(0, 1000, 64)[: len(kept)] % 128
    np.testing.assert_array_equal(kept[:, 0, 0, 0, 0], expected)


def test_steps_of_a_recording_are_those_of_the_stream(package, config, recording):
    steps = record_steps(package, [recording], config)
    assert {name: values.shape[1:] for name, values in steps.items()} == {
        spec.name: spec.shape for spec in package.inputs
    }
    assert len(steps["features"]) == 99
    # The states are those that the network itself gave a step before.
    session = LiteRtRuntime().open(package)
    for step in (0, 40):
        outputs = session.step({name: values[step] for name, values in steps.items()})
        for pair in package.states:
            np.testing.assert_array_equal(steps[pair.input][step + 1], outputs[pair.output])
    session.close()


def test_kit_holds_what_both_compilers_ask_for(package, config, tmp_path):
    steps = record_steps(package, [], config)
    write_kit(tmp_path / "kit", package, "Z1_0701", steps)
    kit = tmp_path / "kit"
    for name, quantiser in (("compass.cfg", "Optimizer"), ("sdk2021.cfg", "AutoQuantizationTool")):
        cfg = configparser.ConfigParser()
        cfg.read(kit / name)
        assert cfg.sections() == ["Common", "Parser", quantiser, "GBuilder"]
        parser = cfg["Parser"]
        assert parser["input"].split(",") == [spec.name for spec in package.inputs]
        assert parser["output"].split(",") == [spec.name for spec in package.outputs]
        shapes = [f"[{', '.join(map(str, spec.shape))}]" for spec in package.inputs]
        assert parser["input_shape"] == ",".join(shapes)
        assert (kit / parser["input_model"]).read_bytes() == package.network.read_bytes()
        assert (kit / cfg[quantiser]["calibration_data"]).is_file()
        assert cfg["GBuilder"]["target"] == "Z1_0701"
    compass = (kit / "compass.cfg").read_text()
    assert "compat_quantized_model = true" in compass
    assert "min_compatible_zhouyi_target = Z1\n" in compass
    # As the tools' loader reads it: a dictionary in the order of the inputs, one sample a row.
    loaded = np.load(kit / "calibration.npy", allow_pickle=True).item()
    assert list(loaded) == [spec.name for spec in package.inputs]
    with np.load(kit / "calibration.npz") as stored:
        for spec in package.inputs:
            np.testing.assert_array_equal(stored[spec.name], steps[spec.name])
            real = real_values(steps[spec.name], spec)[:, 0]
            np.testing.assert_array_equal(loaded[spec.name], real)
            np.testing.assert_array_equal(np.load(kit / f"calibration/{spec.name}.npy"), real)
            assert np.abs(real).max() <= 256 * spec.scale
    assert "--graph aipu.bin" in (kit / "README.txt").read_text()


def test_calibration_of_an_input_whose_name_is_no_file(package, config, tmp_path):
    steps = record_steps(package, [], config)
    name = "serving/default:0"
    steps[name] = steps.pop(package.feature_input)
    inputs = tuple(
        replace(spec, name=name) if spec.name == package.feature_input else spec
        for spec in package.inputs
    )
    renamed = replace(package, inputs=inputs, feature_input=name)
    write_kit(tmp_path / "kit", renamed, "Z1_0701", steps)
    cfg = configparser.ConfigParser()
    cfg.read(tmp_path / "kit" / "sdk2021.cfg")
    assert (tmp_path / "kit" / cfg["AutoQuantizationTool"]["calibration_data"]).is_file()


def test_graph_is_taken_in_and_runs(package, settings, double, tmp_path, monkeypatch, capsys):
    """From compiler output to a step on the double, through the command line."""
    graph = graph_file(package, tmp_path / "aipu.bin")
    assert main(["compile", str(package.path), "--graph", str(graph), "--tolerance", "0"]) == 0
    out = capsys.readouterr().out
    assert "are in the package" in out and "not proven: no-device" in out
    assert "quantised again" not in out
    taken = load_package(package.path)
    assert '"model.aipu.bin" = ' in (taken.path / "model.toml").read_text()
    double.compute_with(taken, LiteRtRuntime().open(taken))
    session = AipuRuntime(settings).open(taken)
    assert verify(taken, session) == 0
    session.close()
    # The command asks the device that the configuration names.
    monkeypatch.setenv("KWSD_RUNTIME_AIPU_DEVICE", str(settings.device))
    monkeypatch.setenv("KWSD_RUNTIME_AIPU_LIBRARY", str(settings.library))
    assert main(["compile", str(package.path), "--graph", str(graph), "--tolerance", "0"]) == 0
    assert "\nproven: " in capsys.readouterr().out
    # A changed graph is found by the package's own hashes.
    (taken.path / "model.aipu.bin").write_bytes(b"other")
    with pytest.raises(ModelError, match="sha256"):
        load_package(taken.path)


def test_shipped_package_is_copied_to_the_user(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("kwsd.model.amend.SHIPPED", tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    before = contents(package.path)
    graph = graph_file(package, tmp_path / "aipu.bin")
    assert main(["compile", str(package.path), "--graph", str(graph)]) == 0
    assert contents(package.path) == before
    assert load_manifest(load_package(tmp_path / "data/kwsd/models/tone")).inputs == package.inputs


def test_again_gives_the_same_package(package, tmp_path):
    graph = graph_file(package, tmp_path / "aipu.bin")
    adopt_graph(package, graph, "Z1_0701", 2, package.path)
    first = contents(package.path)
    adopt_graph(load_package(package.path), graph, "Z1_0701", 2, package.path)
    assert contents(package.path) == first
    other = tmp_path / "other"
    adopt_graph(load_package(package.path), graph, "Z1_0701", 2, other)
    assert contents(other) == first
    with pytest.raises(OutputError, match="exists"):
        adopt_graph(load_package(package.path), graph, "Z1_0701", 2, other)


def test_what_a_user_keeps_in_a_package_is_not_lost(package, tmp_path):
    (package.path / "recordings").mkdir()
    (package.path / "recordings" / "me.wav").write_bytes(b"me")
    with pytest.raises(OutputError, match=r"holds recordings/me\.wav"):
        adopt_graph(package, graph_file(package, tmp_path / "g"), "Z1_0701", 2, package.path)
    assert (package.path / "recordings" / "me.wav").read_bytes() == b"me"
    (package.path / "recordings" / "me.wav").rename(package.path / "me.wav")
    # A file beside the others stays, in its own folder and in another one.
    adopt_graph(package, graph_file(package, tmp_path / "g"), "Z1_0701", 2, package.path)
    assert (package.path / "me.wav").read_bytes() == b"me"


def test_a_folder_that_is_no_kit_is_not_written_into(package, config, tmp_path):
    steps = record_steps(package, [], config)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.txt").write_text("mine")
    with pytest.raises(OutputError, match="is no kit"):
        write_kit(tmp_path / "mine", package, "Z1_0701", steps)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["README.txt"]
    for _ in range(2):
        write_kit(tmp_path / "kit", package, "Z1_0701", steps)


def test_requantised_tensors_take_the_numbers_of_the_graph(package, tmp_path):
    def requantised(spec):
        if spec.name != "s0_in":
            return (spec.scale, spec.zero_point)
        return (1 / (2 * spec.scale), 5)

    graph = tmp_path / "aipu.bin"
    graph.write_bytes(
        container(described(package.inputs, requantised), described(package.outputs, requantised))
    )
    done = adopt_graph(package, graph, "Z1_0701", 2, package.path)
    assert done.requantised == ("s0_in",)
    assert done.builder == (5, 4, 100)
    manifest = load_manifest(done.package)
    state = next(spec for spec in manifest.inputs if spec.name == "s0_in")
    original = package.tensor("s0_in")
    assert state.scale == pytest.approx(2 * original.scale)
    assert state.zero_point == -5
    assert manifest.outputs == package.outputs


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p, f: f.with_name("gone.bin"), MissingFileError, "cannot be read"),
        (lambda p, f: f, ModelError, "cut or lengthened"),
        (lambda p, f: graph_file(p, f, device=R329 + 1), ModelError, "is for Z1_0702"),
        (lambda p, f: graph_file(p, f, inputs=p.inputs[:1]), ModelError, "1 inputs, the package"),
        (lambda p, f: graph_file(p, f, inputs=p.inputs[::-1]), ModelError, "in its order"),
        # What the container says becomes the inverse in the manifest, which has its limits.
        (
            lambda p, f: graph_file(p, f, inputs=(replace(p.inputs[0], scale=1e8), *p.inputs[1:])),
            ModelError,
            "is refused: manifest-mismatch: model.aipu.toml: .*scale = ",
        ),
    ],
)
def test_graph_that_does_not_fit_leaves_the_package_alone(package, tmp_path, make, error, words):
    file = graph_file(package, tmp_path / "aipu.bin")
    adopt_graph(package, file, "Z1_0701", 2, package.path)
    package = load_package(package.path)
    file.write_bytes(file.read_bytes()[:-3])
    before = contents(package.path)
    with pytest.raises(error, match=words):
        adopt_graph(package, make(package, file), "Z1_0701", 2, package.path)
    assert contents(package.path) == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A function of a shell script: installs it as aipubuild; without one there is none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)

    def install(script):
        (folder / "aipubuild").write_text("#!/bin/sh\n" + script)
        (folder / "aipubuild").chmod(0o755)

    return install


def test_without_the_compiler_it_says_what_to_copy_where(package, compiler, recording, capsys):
    code = main(["compile", str(package.path), "--recording", str(recording)])
    out = capsys.readouterr().out
    assert code == 69
    assert "not installed here: copy tone.Z1_0701 to the machine" in out
    assert "--graph aipu.bin" in out
    assert os.path.isfile("tone.Z1_0701/compass.cfg")
    assert not (package.path / "model.aipu.bin").exists()


@pytest.mark.parametrize(("sdk", "cfg"), [("compass", "compass.cfg"), ("2021", "sdk2021.cfg")])
def test_with_the_compiler(package, compiler, tmp_path, capsys, sdk, cfg):
    graph_file(package, tmp_path / "made.bin")
    compiler(f'test "$1" = {cfg} && test -f model.tflite && cp {tmp_path}/made.bin aipu.bin\n')
    assert main(["compile", str(package.path), "--sdk", sdk]) == 0
    assert load_manifest(load_package(package.path)).tolerance == package.vectors.tolerance


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '[E] unsupported: Slice'; echo bye; exit 3\n", "status 3: .E. unsupported: Slice;"),
        ("echo done\n", "without aipu.bin: done; all it said is in"),
    ],
)
def test_compiler_that_refuses(package, compiler, capsys, script, words):
    compiler(script)
    earlier = Path("tone.Z1_0701")
    earlier.mkdir()
    (earlier / "compass.cfg").write_text("")
    (earlier / "aipu.bin").write_bytes(b"of an earlier run")
    assert main(["compile", str(package.path)]) == 65
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert re.search(words, err)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--target", "X9"], 64),
        (["--tolerance", "500"], 64),
        (["--recording", "gone.wav"], 66),
        (["--graph", "gone.bin"], 66),
        (["--graph", "gone.bin", "--recording", "gone.wav"], 64),
        (["--graph", "gone.bin", "--sdk", "2021"], 64),
    ],
)
def test_mistakes_are_one_line(package, compiler, capsys, words, code):
    assert main(["compile", str(package.path), *words]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_that_a_configuration_cannot_hold(tmp_path):
    package = affine_package(tmp_path / "affine")
    broken = replace(package.outputs[0], name="a, b")
    package = replace(package, outputs=(broken, *package.outputs[1:]))
    arrays = {spec.name: np.zeros((1, *spec.shape), np.int8) for spec in package.inputs}
    with pytest.raises(ModelError, match="plain names"):
        write_kit(tmp_path / "kit", package, "Z1_0701", arrays)


def test_names_that_would_share_a_calibration_file(tmp_path):
    package = affine_package(tmp_path / "affine")
    names = ("a:0", "a/0")
    inputs = [replace(s, name=n) for s, n in zip(package.inputs, names, strict=True)]
    arrays = {spec.name: np.zeros((1, *spec.shape), np.int8) for spec in inputs}
    package = replace(package, inputs=tuple(inputs), feature_input=names[0])
    with pytest.raises(ModelError, match=r"'a:0' and 'a/0' of .* in calibration/a_0\.npy"):
        write_kit(tmp_path / "kit", package, "Z1_0701", arrays)
    assert not (tmp_path / "kit").exists()
