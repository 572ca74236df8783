"""NCNN: the same numbers as the int8 network, a reason for every part that is not right, export."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from model_fixture import package_content, random_net

from kwsd.dsp.features import BANDS, features
from kwsd.errors import EX_CANTCREAT, EX_DATAERR, EX_NOINPUT, EX_OK, EX_USAGE, ModelError
from kwsd.export.adopt import NCNN_TOLERANCE, adopt_ncnn
from kwsd.kwsmodel import main
from kwsd.model.amend import amend_package
from kwsd.model.find import SHIPPED
from kwsd.model.package import load_package
from kwsd.model.stream import StreamingModel
from kwsd.model.toml_text import toml_text
from kwsd.model.verify import verify
from kwsd.model.write import write_package
from kwsd.runtime.litert import LiteRtRuntime
from kwsd.runtime.ncnn import NcnnRuntime
from kwsd.runtime.ncnn_manifest import NCNN_MANIFEST_FILE, PARAM_FILE, WEIGHTS_FILE
from kwsd.runtime.select import open_session
from kwsd.train.listen import detector_branch

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
ORDER = ("ncnn", "litert")

pytest.importorskip("ncnn", reason="the bindings of NCNN are not there: install ncnn")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function of the name of a shipped model: its package with the part for NCNN."""
    made = {}

    def exported(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("exported") / name
            made[name] = adopt_ncnn(load_package(SHIPPED / name), NCNN_TOLERANCE, folder)
        return made[name]

    return exported


@pytest.fixture(scope="module")
def tone(tone_model, tmp_path_factory):
    """The small model, with the part for NCNN."""
    folder = tmp_path_factory.mktemp("exported") / "tone"
    return adopt_ncnn(load_package(tone_model), NCNN_TOLERANCE, folder)


def scores(package, runtime, features):
    """Of a stream, state and all."""
    session = runtime.open(package)
    model = StreamingModel(package, session)
    values = [score.value for score in model.process(features, len(features) * 160)]
    session.close()
    return np.array(values)


def noise(frames=400, seed=2):
    return np.random.default_rng(seed).normal(0.2, 0.6, (frames, BANDS)).astype(np.float32)


def test_toleranced_steps_of_both_shipped_models(exported):
    for name in ("computer", "jarvis"):
        package = exported(name)
        session = NcnnRuntime().open(package)
        assert session.tolerance == NCNN_TOLERANCE < package.vectors.tolerance
        assert verify(package, session, session.tolerance) <= NCNN_TOLERANCE
        session.close()


def test_streams_score_as_on_litert(exported):
    """Differences do not add up in the state."""
    package = exported("computer")
    recording = SAMPLES / "living_room.flac"
    audio, _ = soundfile.read(recording, dtype="float32", always_2d=True, stop=8 * 16_000)
    mic, reference = np.ascontiguousarray(audio[:, 0]), np.ascontiguousarray(audio[:, 2])
    heard = features(detector_branch(mic, reference))
    ours, theirs = (scores(package, r(), heard) for r in (NcnnRuntime, LiteRtRuntime))
    # The word is in it: on noise this model says the same at every step.
    assert len(ours) == len(heard) // 2 and np.ptp(theirs) > 0.5
    assert np.abs(ours - theirs).max() <= 0.02


@pytest.mark.parametrize(
    "shape",
    [
        {"kernels": (2, 3), "dilations": (1, 4), "stem_frames": 3, "filters": ()},
        {"kernels": (7,), "dilations": (3,), "stem_frames": 8, "channels": 5},
        {"filters": ((16, 6, 2), (24, 4, 2), (7, 3, 1)), "channels": 16},
    ],
)
def test_networks_of_other_shapes(shape, tmp_path):
    """A state of one step, channels that fill no vector register, long dilations."""
    write_package(tmp_path / "plain", package_content(random_net(4, **shape)))
    package = adopt_ncnn(load_package(tmp_path / "plain"), NCNN_TOLERANCE, tmp_path / "with")
    ours, theirs = (scores(package, r(), noise()) for r in (NcnnRuntime, LiteRtRuntime))
    assert np.ptp(theirs) > 0.05
    assert np.abs(ours - theirs).max() <= 0.02


def test_inputs_stay_and_outputs_belong_to_the_caller(tone):
    session = NcnnRuntime().open(tone)
    rng = np.random.default_rng(1)
    inputs = {s.name: rng.integers(-128, 128, s.shape, np.int8) for s in tone.inputs}
    before = {name: values.copy() for name, values in inputs.items()}
    first = session.step(inputs)
    kept = {name: values.copy() for name, values in first.items()}
    other = {name: np.zeros_like(values) for name, values in inputs.items()}
    session.step(other)
    again = session.step(inputs)
    session.close()
    for name, values in before.items():
        assert np.array_equal(inputs[name], values)
    for spec in tone.outputs:
        assert first[spec.name].shape == spec.shape and first[spec.name].dtype == spec.dtype
        assert np.array_equal(first[spec.name], kept[spec.name])
        assert np.array_equal(again[spec.name], kept[spec.name])


def test_replay_finds_the_same_words(exported):
    folder = exported("computer").path
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kwsd", "--replay", str(SAMPLES / "living_room.flac")),
            *("--set", f'wake.models=["{folder}"]', "--set", 'runtime.order=["ncnn","litert"]'),
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    golden = (SAMPLES / "living_room.events.jsonl").read_text().splitlines()
    expected = [event for event in map(json.loads, golden) if event["type"] == "wake"]
    assert [event["runtime"] for event in found] == ["ncnn"] * len(expected)
    for event, want in zip(found, expected, strict=True):
        assert event["name"] == want["name"]
        assert event["detected_s"] == pytest.approx(want["detected_s"], abs=0.045)
        assert event["score"] == pytest.approx(want["score"], abs=0.1)


def test_serves_when_it_is_first(tone):
    told = []
    session, choice = open_session(tone, ORDER, on_change=told.append)
    session.close()
    assert (choice.name, choice.word) == ("ncnn", "start")
    assert [(c.runtime, c.previous, c.reason) for c in told] == [("ncnn", None, "start")]


def test_serves_behind_an_aipu_that_is_not_there(tone):
    session, choice = open_session(tone, ("aipu", *ORDER))
    session.close()
    assert choice.name == "ncnn"


def damaged(tone, tmp_path, weights=None, param=None, network=None, **manifest):
    """The package with other files; the manifest names them as they are unless told otherwise."""
    files = {
        WEIGHTS_FILE: weights or (tone.path / WEIGHTS_FILE).read_bytes(),
        PARAM_FILE: param or (tone.path / PARAM_FILE).read_bytes(),
    }
    table = tomllib.loads((tone.path / NCNN_MANIFEST_FILE).read_text())
    table["weights_sha256"] = hashlib.sha256(files[WEIGHTS_FILE]).hexdigest()
    table["param_sha256"] = hashlib.sha256(files[PARAM_FILE]).hexdigest()
    files[NCNN_MANIFEST_FILE] = toml_text({**table, **manifest}).encode()
    if network:
        files["model.tflite"] = network
    return amend_package(tone.path, files, tmp_path / "damaged")


def refusal(package):
    """Word and sentence; litert serves."""
    session, choice = open_session(package, ORDER)
    session.close()
    assert choice.name == "litert"
    return choice.word, choice.reason


def test_package_without_the_part(tone_model):
    word, reason = refusal(load_package(tone_model))
    assert word == "no-graph"
    assert "kwsmodel export tone --format ncnn" in reason


def test_part_that_was_cut_off(tone, tmp_path):
    good = (tone.path / WEIGHTS_FILE).read_bytes()
    said = hashlib.sha256(good).hexdigest()
    word, reason = refusal(damaged(tone, tmp_path, good[:-100], weights_sha256=said))
    assert word == "bad-graph" and WEIGHTS_FILE in reason


def test_part_that_was_cut_off_before_it_was_listed(tone, tmp_path, capfd):
    """NCNN itself must refuse it."""
    good = (tone.path / WEIGHTS_FILE).read_bytes()
    word, reason = refusal(damaged(tone, tmp_path, good[: len(good) // 2]))
    assert word == "bad-graph" and "does not take it" in reason


def test_part_that_lost_a_file(tone, tmp_path):
    package = damaged(tone, tmp_path)
    (package.path / PARAM_FILE).unlink()
    word, reason = refusal(package)
    assert word == "bad-graph" and PARAM_FILE in reason


def test_part_of_another_network(tone, tmp_path):
    word, reason = refusal(damaged(tone, tmp_path, network_sha256="0" * 64))
    assert word == "manifest-mismatch" and "another network" in reason


@pytest.mark.parametrize("change", [{"tolerance": 200}, {"format": 9}, {"extra": 1}])
def test_manifest_that_is_wrong(tone, tmp_path, change):
    word, reason = refusal(damaged(tone, tmp_path, **change))
    assert word == "manifest-mismatch" and NCNN_MANIFEST_FILE in reason


def test_part_that_computes_something_else(tone, tmp_path):
    """The tolerance is the part's: a difference that the package would allow is refused, too."""
    weights = bytearray((tone.path / WEIGHTS_FILE).read_bytes())
    # The last bias and its scale are those of the head.
    weights[-12:-8] = np.float32(300.0).tobytes()
    word, reason = refusal(damaged(tone, tmp_path, bytes(weights)))
    assert word == "vector-mismatch" and "allowed 2" in reason


def test_part_that_gives_another_size(tone, tmp_path):
    """NCNN computes whatever the file says; a state that is cropped is none of this package."""
    param = (tone.path / PARAM_FILE).read_text()
    last = re.search(r"^Noop out1 1 1 (\w+) out1$", param, re.MULTILINE)
    cropped = param.replace(last[0], f"Crop out1 1 1 {last[1]} out1 0=1 1=0 3=1 4=4")
    word, reason = refusal(damaged(tone, tmp_path, param=cropped.encode()))
    assert word == "bad-graph" and "s0_out as" in reason and "expected" in reason


def test_bindings_that_are_not_installed(tone, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    word, reason = refusal(tone)
    assert word == "unavailable" and "pip install ncnn" in reason
    assert main(["export", str(tone.path), "--format", "ncnn", "--out", str(tmp_path / "p")]) == 0
    assert "not proven" in capsys.readouterr().out


def test_export_command(tone_model, tmp_path, capsys):
    target = tmp_path / "with"
    options = [str(tone_model), "--format", "ncnn", "--out", str(target)]
    assert main(["export", *options]) == EX_OK
    out = capsys.readouterr().out
    assert "proven: ncnn" in out and "allowed 2" in out
    assert {PARAM_FILE, WEIGHTS_FILE, NCNN_MANIFEST_FILE} <= {p.name for p in target.iterdir()}
    assert main(["export", *options]) == EX_CANTCREAT
    # Into the package itself, and again: the same bytes.
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    assert main(["export", str(target), "--format", "ncnn"]) == EX_OK
    assert {p.name: p.read_bytes() for p in target.iterdir()} == before


def test_shipped_package_is_copied_to_the_users(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["export", "jarvis", "--format", "ncnn"]) == EX_OK
    assert (tmp_path / "kwsd" / "models" / "jarvis" / PARAM_FILE).is_file()


def with_operator(network, old, new):
    """The network with one kind of operator called another."""
    from ai_edge_litert import schema_py_generated as schema

    flatbuffers = pytest.importorskip("flatbuffers", reason="install flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(network, 0)
    for code in model.operatorCodes:
        if code.builtinCode == old:
            code.builtinCode = code.deprecatedBuiltinCode = new
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def one_line(capsys, argv):
    code = main(argv)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return code, lines[0]


def test_export_of_foreign_networks(tone_model, tmp_path, capsys):
    package = load_package(tone_model)
    foreign = {
        "TANH": with_operator(package.network.read_bytes(), 14, 28),
        "is no TFLite network": b"nothing" * 10,
    }
    for index, (words, network) in enumerate(foreign.items()):
        folder = tmp_path / str(index)
        amend_package(tone_model, {"model.tflite": network}, folder)
        code, line = one_line(capsys, ["export", str(folder), "--format", "ncnn"])
        assert code == EX_DATAERR
        assert words in line
        assert not (folder / PARAM_FILE).exists()


def test_export_of_what_is_no_package(tmp_path, capsys):
    code, line = one_line(capsys, ["export", str(tmp_path), "--format", "ncnn"])
    assert code == EX_NOINPUT and "no model package" in line
    code, line = one_line(capsys, ["export", "computer", "--format", "ncnn", "--tolerance", "300"])
    assert code == EX_USAGE and "0 to 127" in line


def test_tolerance_of_a_runtime_overrides_the_packages(tone):
    """`verify` says what was allowed, and holds a runtime to its own word."""
    session = LiteRtRuntime().open(tone)

    class Off:
        inputs, outputs = session.inputs, session.outputs

        def step(self, inputs):
            return {n: np.clip(v, -120, 120) + 3 for n, v in session.step(inputs).items()}

    with pytest.raises(ModelError, match="allowed 2:"):
        verify(tone, Off(), 2)
    session.close()
