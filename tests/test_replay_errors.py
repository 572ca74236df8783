"""What goes wrong ends in one line and a documented exit code, never in a traceback."""

import os
import shutil
import struct

import numpy as np
import pytest
import soundfile as sf

RATE = 16000


def fails(result, code, *words):
    """One line on standard error, nothing on standard output."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("kwsd: error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal((RATE, 1)), RATE)
    return path


def test_missing_file(kwsd, tmp_path):
    fails(kwsd("--replay", tmp_path / "none.wav"), 66, "none.wav", "no such file")


def test_folder(kwsd, tmp_path):
    fails(kwsd("--replay", tmp_path), 65, "is a folder")


def test_empty_file(kwsd, tmp_path):
    (tmp_path / "a.wav").touch()
    fails(kwsd("--replay", tmp_path / "a.wav"), 65, "is empty")


def test_text(kwsd, tmp_path):
    (tmp_path / "a.wav").write_text("no audio here\n" * 100)
    fails(kwsd("--replay", tmp_path / "a.wav"), 65, "WAV, FLAC and Ogg")


def test_samples_without_a_header(kwsd, wav, tmp_path):
    # The name alone says nothing: this one holds a WAV.
    named = tmp_path / "named.raw"
    named.write_bytes(wav.read_bytes())
    assert kwsd("--replay", named).returncode == 0
    bare = tmp_path / "bare.RAW"
    bare.write_bytes(wav.read_bytes()[44:])
    fails(kwsd("--replay", bare), 65, "samples without a header need one: sox -t raw")


def test_truncated_wav_writes_nothing(kwsd, wav, tmp_path):
    wav.write_bytes(wav.read_bytes()[:-999])
    scores = tmp_path / "s.csv"
    fails(kwsd("--replay", wav, "--scores", scores), 65, "truncated")
    assert not scores.exists()
    with wav.open("rb") as stream:
        fails(kwsd("--replay", "-", stdin=stream), 65, "truncated")


def test_truncated_pipe(kwsd, wav, tmp_path):
    scores = tmp_path / "out" / "s.csv"
    scores.parent.mkdir()
    result = kwsd("--replay", "-", "--scores", scores, input=wav.read_bytes()[:-999])
    fails(result, 65, "standard input is truncated")
    assert list(scores.parent.iterdir()) == []


def test_not_a_wav_on_standard_input(kwsd, wav, tmp_path):
    fails(kwsd("--replay", "-", input=b""), 65, "standard input is empty")
    fails(kwsd("--replay", "-", input=b"x" * 1000), 65, "standard input is not a WAV")


def test_no_channels(kwsd, wav):
    data = bytearray(wav.read_bytes())
    data[22:24] = struct.pack("<H", 0)
    wav.write_bytes(data)
    fails(kwsd("--replay", wav), 65, "0 channels")


def test_nan_names_the_position(kwsd, tmp_path):
    audio = np.zeros(RATE, np.float32)
    audio[8000] = np.nan
    path = tmp_path / "a.wav"
    sf.write(path, audio, RATE, subtype="FLOAT")
    out = tmp_path / "d.wav"
    fails(kwsd("--replay", path, "--dump-audio", out), 65, "sample 8000 (0.500 s) of channel 0")
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {"a.wav"}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--set", "audio.reference=1"], 78, ["channel 1 is not there"]),
        (["--set", "audio.mics=[0, 3]"], 78, ["channel 3 is not there"]),
        (["--set", "wake.sensitivty=high"], 78, ["did you mean wake.sensitivity?"]),
        (["--set", "wake.threshold=7"], 78, ["wake.threshold = 7", "0.01 to 1", "--set"]),
        (["--set", "wake.threshold"], 64, ["key=value"]),
        (["--config", "/nowhere/kwsd.toml"], 66, ["/nowhere/kwsd.toml"]),
        (["--model", "no-such-model"], 66, ["no-such-model"]),
        (["--publish", "--set", "bus.endpoint=tcp://0.0.0.0:5577"], 78, ["CURVE"]),
        (["--publish", "--set", "bus.endpoint=ipc:///proc/nowhere/x"], 69, ["bus.endpoint"]),
        (["--scores", "/nowhere/s.csv"], 73, ["/nowhere/s.csv"]),
        (["--frobnicate"], 64, ["--frobnicate", "--help"]),
    ],
)
def test_options(kwsd, wav, options, code, words):
    fails(kwsd("--replay", wav, *options), code, *words)


def test_outputs_that_clash(kwsd, wav, tmp_path):
    before = wav.read_bytes()
    fails(kwsd("--replay", wav, "--dump-audio", wav), 64, "the recording")
    same = tmp_path / "x"
    fails(kwsd("--replay", wav, "--scores", same, "--plot", same), 64, "another output")
    assert wav.read_bytes() == before


def test_links_that_go_round(kwsd, wav, tmp_path):
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    fails(kwsd("--replay", loop), 65, "loop.wav", "symbolic links")
    done = kwsd("--replay", wav, "--scores", loop)
    assert done.returncode == 0 and loop.is_file()  # as any link that leads nowhere: replaced


def test_a_name_that_is_no_formula_and_no_text(kwsd, wav, tmp_path):
    pytest.importorskip("matplotlib")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/take $1_$2 \xff.wav")
    shutil.copy(wav, odd)
    plot = tmp_path / "o.png"
    publish = ["--publish", "--set", f"bus.endpoint=ipc://{tmp_path}/bus"]
    done = kwsd("--replay", odd, "--plot", plot, *publish)
    assert done.returncode == 0, done.stderr
    assert plot.stat().st_size > 1000


def test_full_disk(kwsd, recording):
    with open("/dev/full", "w") as full:
        result = kwsd("--replay", recording, stdout=full)
    assert result.returncode == 73
    assert "standard output cannot be written" in result.stderr


@pytest.mark.parametrize("option", ["--print-config", "--help", "--version"])
def test_full_disk_for_what_is_only_said(kwsd, option):
    with open("/dev/full", "w") as full:
        result = kwsd(option, stdout=full)
    assert result.returncode == 73
    assert result.stderr.startswith("kwsd: error: standard output cannot be written")


def test_environment_and_user_configuration(kwsd, wav, tmp_path):
    fails(kwsd("--replay", wav, env={"KWSD_WAKE_COLOUR": "x"}), 78, "KWSD_WAKE_COLOUR")
    (tmp_path / "kwsd").mkdir()
    (tmp_path / "kwsd" / "kwsd.toml").write_text("[wake]\nrefractory_s = -1\n")
    result = kwsd("--replay", wav, env={"XDG_CONFIG_HOME": str(tmp_path)})
    fails(result, 78, "wake.refractory_s = -1", "kwsd.toml", "0 to 60")


@pytest.mark.parametrize("damage", ["hash", "missing tensor file", "missing model.toml"])
def test_damaged_model(kwsd, wav, tone_model, tmp_path, damage):
    copy = tmp_path / "model"
    shutil.copytree(tone_model, copy)
    if damage == "hash":
        data = bytearray((copy / "model.tflite").read_bytes())
        data[-1] ^= 1
        (copy / "model.tflite").write_bytes(data)
    elif damage == "missing tensor file":
        (copy / "model.tflite").unlink()
    else:
        (copy / "model.toml").unlink()
    result = kwsd("--replay", wav, "--model", copy)
    assert result.returncode in (65, 66)
    fails(result, result.returncode, "model")


def test_without_replay(kwsd):
    # No service manager: a device that is not there ends it at once.
    fails(kwsd("--set", "audio.device=hw:CARD=none"), 69, "audio.")
    fails(kwsd("--publish"), 64, "--replay")


def test_help_version_and_configuration(kwsd):
    version = kwsd("--version")
    assert (version.returncode, version.stdout.split()[0]) == (0, "kwsd")
    usage = kwsd("--help")
    assert usage.returncode == 0 and "--dump-audio" in usage.stdout
    shown = kwsd("--print-config", "--set", "wake.sensitivity=high")
    assert shown.returncode == 0
    assert 'sensitivity = "high"  # --set' in shown.stdout
