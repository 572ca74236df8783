"""Result files, timelines of plots, the progress bar."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from kwsd.cli import main
from kwsd.ctl.audio_writer import AudioWriter
from kwsd.dsp.frontend_frame import FrontEndFrame
from kwsd.dsp.metrics import Meter
from kwsd.dump import CHANNELS, AudioDump
from kwsd.errors import EX_CANTCREAT, OutputError
from kwsd.output_file import OutputFile
from kwsd.progress import progress
from kwsd.timeline import Timeline


def test_file_is_there_when_complete(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with OutputFile(path) as output:
        assert output.partial.parent == tmp_path
        assert output.partial.suffix == ".csv"
        output.partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(error):
        with OutputFile(path) as output:
            output.partial.write_text("half")
            raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        OutputFile(tmp_path)
    with pytest.raises(OutputError, match="No such file"):
        OutputFile(tmp_path / "none" / "a.csv")


def test_device_is_written_directly():
    null = Path(os.devnull)
    with OutputFile(null) as output:
        assert output.partial == null
    assert null.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_one_and_permissions_stay(tmp_path, is_there):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "out.csv", tmp_path / "a.csv"
    if is_there:
        target.write_text("old")
        target.chmod(0o600)
    link.symlink_to(target)
    with OutputFile(link) as output:
        output.partial.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]
    if is_there:
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_what_was_said_in_a_room_is_for_its_owner_alone(tmp_path):
    with OutputFile(tmp_path / "private.wav", private=True) as output:
        output.partial.write_text("new")
    assert stat.S_IMODE((tmp_path / "private.wav").stat().st_mode) == 0o600
    (tmp_path / "shared.wav").write_text("old")
    (tmp_path / "shared.wav").chmod(0o644)
    with OutputFile(tmp_path / "shared.wav", private=True) as output:
        output.partial.write_text("new")
    assert stat.S_IMODE((tmp_path / "shared.wav").stat().st_mode) == 0o644
    with AudioWriter(tmp_path / "room.flac", 16_000, 3, 16):
        pass
    assert stat.S_IMODE((tmp_path / "room.flac").stat().st_mode) == 0o600


@pytest.mark.parametrize("option", ["--scores", "--dump-audio", "--plot"])
def test_a_full_disk_is_said_of_the_file_that_was_asked_for(
    option, tmp_path, recording, small_files, capsys
):
    if option == "--plot":
        pytest.importorskip("matplotlib")
    path = tmp_path / ("out.wav" if option == "--dump-audio" else "out.png")
    with small_files(1000):
        assert main(["--replay", str(recording), option, str(path)]) == EX_CANTCREAT
    said = capsys.readouterr().err
    assert f"cannot be written to {path}" in said and len(said.splitlines()) == 1
    assert not list(tmp_path.glob(".out*"))


def dump(path, duration_s, largest_bytes):
    """Ten frames of 480 samples, dumped."""
    zeros = np.zeros(480, np.float32)
    metrics = Meter(2).snapshot(False, None, None, None, 0, (False, False))
    written = AudioDump(path, duration_s, largest_bytes)
    for number in range(10):
        written.frame(FrontEndFrame(480 * number, zeros, zeros, zeros, zeros, metrics))
    written.close()
    return sf.info(path)


def test_a_dump_of_an_endless_stream_ends_where_a_wav_does(tmp_path, caplog):
    room_bytes = 4 * 480 * len(CHANNELS) * 3 + 1000
    info = dump(tmp_path / "endless.wav", None, room_bytes)
    assert (info.format, info.frames) == ("WAV", 4 * 480)
    (warning,) = caplog.messages
    assert "--dump-audio: the file is as large as a WAV can be" in warning
    # Where the length is known, another header holds it.
    info = dump(tmp_path / "long.wav", 4800 / 16000, room_bytes)
    assert (info.format, info.frames) == ("RF64", 4800)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("count", [0, 1, 7, 8, 100, 1001])
def test_timeline_is_bounded_and_keeps_peaks(count):
    timeline = Timeline(1, 160, np.maximum, columns=8)
    values = np.random.default_rng(0).random(count).astype(np.float32)
    for value in values:
        timeline.push(np.array([value], np.float32))
    columns = timeline.columns[:, 0]
    assert len(columns) < 8 or count == 0
    per_column = timeline.column_samples // 160
    assert len(columns) == count // per_column
    for index, column in enumerate(columns):
        assert column == values[index * per_column : (index + 1) * per_column].max()


def test_no_bar_without_a_terminal(capsys):
    with progress("a", 1000.0) as advance:
        advance(16000)
    assert capsys.readouterr() == ("", "")


BAR = (
    "from kwsd.progress import progress\n"
    "with progress('[/b]recording.wav', 1000.0) as advance:\n"
    "    advance(8_000_000)\n"
    "print('event')"
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
def test_where_events_are_shown_there_is_no_bar():
    ours, theirs = os.openpty()
    try:
        subprocess.run([sys.executable, "-c", BAR], stdout=theirs, stderr=theirs, timeout=60)
        shown = os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown == b"event\r\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo-terminal")
def test_bar_on_a_terminal_leaves_standard_output_alone():
    ours, theirs = os.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
        result = subprocess.run(
            [sys.executable, "-c", BAR],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment,
            timeout=60,
        )
        shown = os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.stdout == b"event\n"
    assert b"[/b]recording.wav" in shown


def test_light_imports(kwsd_environment, recording):
    """A replay imports neither the plot nor the training stack, nor the bar."""
    code = (
        "import sys; from kwsd.cli import main; code = main(); "
        "heavy = {'scipy', 'librosa', 'torch', 'matplotlib', 'rich'} & set(sys.modules); "
        "sys.exit(code or ', '.join(heavy) or None)"
    )
    command = [sys.executable, "-c", code, "--replay", str(recording)]
    result = subprocess.run(command, capture_output=True, text=True, env=kwsd_environment)
    assert result.returncode == 0, result.stderr
