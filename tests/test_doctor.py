"""The doctor on synthetic boards, each with one known fault."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from other_user import closed_folder, other_user

from kwsd import kwsctl
from kwsd.ctl import doctor
from kwsd.doctor.channel import Life, measure
from kwsd.doctor.chirp import chirps
from kwsd.doctor.examine import Examination, Verdict, examine
from kwsd.doctor.relation import relate
from kwsd.errors import OutputError

RATE_HZ = 16_000
SECONDS = 6
DELAY = 320
"""Of the loudspeaker's sound at microphone 0, samples."""


def test_a_profile_in_a_folder_that_may_not_be_entered() -> None:
    with closed_folder() as (folder, _), other_user():
        with pytest.raises(OutputError, match="board.toml cannot be written: Permission denied"):
            doctor._check_free(folder / "board.toml")


def band_noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """Noise with the spectrum of speech, roughly, in bursts."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency_hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    spectrum *= 1.0 / (1.0 + (frequency_hz / 800.0) ** 2) * (frequency_hz > 80.0)
    sound = np.fft.irfft(spectrum, count)
    bursts = np.repeat(rng.random(count // 3200) < 0.6, 3200)
    # Nobody is quiet by chance alone in every tenth of six seconds.
    bursts[-12_800:] = False
    return sound / sound.std() * np.pad(bursts, (0, count - len(bursts)))


def board(seed: int = 1, played: bool = True, delay: int = DELAY) -> np.ndarray:
    """float32 [frames, 3]: two microphones 3 samples apart, and the reference as channel 2."""
    rng = np.random.default_rng(seed)
    count = SECONDS * RATE_HZ
    talker = 0.05 * band_noise(rng, count)
    music = 0.2 * band_noise(rng, count) if played else np.zeros(count)
    room = np.zeros(400)
    room[0] = 1.0
    room[30:] = rng.standard_normal(370) * np.exp(-np.arange(370) / 150.0) * 0.15
    echo = np.convolve(music, room)[:count] * 0.3
    noise = 3e-4 * rng.standard_normal((2, count))
    mics = [
        talker + np.roll(echo, delay) + noise[0],
        np.roll(talker, 3) + np.roll(echo, delay + 2) + noise[1],
    ]
    reference = music + 2e-5 * rng.standard_normal(count)
    return np.stack([*mics, reference], axis=1).astype(np.float32)


def look(samples: np.ndarray, mics: tuple[int, ...] = (0, 1), ref: tuple[int, ...] = (2,)):
    return examine(samples, RATE_HZ, mics, ref)


def verdicts(found: Examination, *parts: str) -> set[Verdict]:
    return {f.verdict for f in found.findings if all(part in f.check for part in parts)}


@pytest.mark.parametrize("seed", range(5))
def test_a_good_board_has_no_fault(seed: int) -> None:
    found = look(board(seed))
    assert {f.verdict for f in found.findings} == {Verdict.OK}, found.findings
    assert found.worst is Verdict.OK
    assert found.loopback is not None and found.loopback.channel == 2
    assert found.loopback.delay_ms[0] == pytest.approx(1000 * DELAY / RATE_HZ, abs=0.2)
    assert (found.mics, found.reference) == ((0, 1), (2,))


@pytest.mark.parametrize(
    ("order", "delay"),
    [((0, 2, 1), 12), ((2, 0, 1), 320), ((1, 2, 0), 4000), ((0, 1, 2), 4000)],
)
def test_the_reference_is_found_in_any_order(order: tuple[int, ...], delay: int) -> None:
    found = look(board(delay=delay)[:, list(order)])
    at = order.index(2)
    assert found.reference == (at,)
    assert found.mics == tuple(c for c in range(3) if c != at)
    assert verdicts(found, "loop-back") == {Verdict.OK if at == 2 else Verdict.FAIL}


def test_a_loudspeaker_beside_the_microphones_shows_by_its_clean_pauses() -> None:
    found = look(board(delay=3))
    assert found.reference == (2,) and verdicts(found, "loop-back") == {Verdict.OK}


def test_nothing_played_tells_nothing_of_the_reference() -> None:
    found = look(board(played=False))
    assert found.loopback is None
    assert verdicts(found, "loop-back") == {Verdict.UNKNOWN}
    assert found.reference == (2,), "what is not known must not be changed"


@pytest.mark.parametrize("gain_db", [0.0, -20.0, 20.0])
def test_the_nearer_microphone_is_no_loudspeaker(gain_db: float) -> None:
    samples = 0.05 * board(played=False)[:, :2]
    samples[:, 0] *= 10 ** (gain_db / 20)
    found = look(samples, ref=())
    assert found.loopback is None
    assert verdicts(found, "loop-back") == {Verdict.OK}


def test_a_reference_that_no_microphone_hears() -> None:
    samples = board(played=False)
    samples[:, 2] = 0.1 * np.random.default_rng(9).standard_normal(len(samples))
    assert verdicts(look(samples), "loop-back") == {Verdict.WARN}


def test_a_reference_that_is_not_configured() -> None:
    found = look(board(), ref=())
    assert verdicts(found, "loop-back") == {Verdict.WARN}
    assert found.reference == (2,)


@pytest.mark.parametrize("played", [True, False])
def test_a_flipped_microphone(played: bool) -> None:
    samples = board(played=played)
    samples[:, 1] *= -1
    found = look(samples)
    assert verdicts(found, "polarity") == {Verdict.FAIL}
    assert verdicts(look(board(played=played)), "polarity") == {Verdict.OK}


def test_microphones_that_hear_different_things() -> None:
    samples = board(played=False)
    samples[:, 1] = 0.03 * np.random.default_rng(4).standard_normal(len(samples))
    assert verdicts(look(samples), "polarity") == {Verdict.UNKNOWN}


@pytest.mark.parametrize(
    ("gain_db", "verdict"), [(1.5, Verdict.OK), (-6.0, Verdict.WARN), (14.0, Verdict.FAIL)]
)
def test_gains_that_differ(gain_db: float, verdict: Verdict) -> None:
    samples = 0.1 * board()
    samples[:, 1] *= 10 ** (gain_db / 20)
    found = look(samples)
    assert verdicts(found, "gains") == {verdict}
    detail = next(f.detail for f in found.findings if f.check == "microphone gains")
    assert f"{gain_db:+.1f}"[:3] in detail


@pytest.mark.parametrize("limit", [1.0, 0.5])
def test_clipping_at_full_scale_and_below_it(limit: float) -> None:
    samples = board()
    top = 0.3 * np.max(np.abs(samples[:, 0]))
    samples[:, 0] = np.clip(samples[:, 0], -top, top) / top * limit
    found = look(samples)
    assert verdicts(found, "microphone 0", "clipping") <= {Verdict.WARN, Verdict.FAIL}
    assert verdicts(found, "microphone 1", "clipping") == {Verdict.OK}


def test_an_offset() -> None:
    samples = board()
    samples[:, 1] += 0.05
    found = look(samples)
    assert verdicts(found, "microphone 1", "offset") == {Verdict.WARN}
    assert verdicts(found, "microphone 0", "offset") == {Verdict.OK}
    assert measure(samples[:, 1], RATE_HZ).offset == pytest.approx(0.05, abs=2e-3)


@pytest.mark.parametrize(("value", "life"), [(0.0, Life.ZERO), (0.25, Life.STUCK)])
def test_a_dead_microphone(value: float, life: Life) -> None:
    samples = board()
    samples[:, 0] = value
    found = look(samples)
    assert found.facts[0].life is life
    assert verdicts(found, "microphone 0") == {Verdict.FAIL}
    assert found.mics == (1,), "a dead microphone is not proposed"
    assert found.reference == (2,)


def test_too_quiet_and_too_noisy() -> None:
    assert verdicts(look(0.004 * board()), "microphone 0", "level") == {Verdict.WARN}
    samples = board()
    samples[:, :2] += 0.02 * np.random.default_rng(2).standard_normal((len(samples), 2))
    assert verdicts(look(samples), "microphone 0", "noise") == {Verdict.WARN}


def test_a_loudspeaker_that_never_rests_hides_the_noise_floor() -> None:
    samples = board()
    hum = 0.05 * np.random.default_rng(3).standard_normal(len(samples))
    samples += hum[:, None].astype(np.float32)
    assert verdicts(look(samples), "microphone 0", "noise") == {Verdict.UNKNOWN}


@pytest.mark.parametrize("delay", [40, 1600, 6400])
def test_sweeps_show_the_loop_delay(delay: int) -> None:
    played = chirps(RATE_HZ, 6.0)
    assert np.abs(played).max() <= 0.25
    rng = np.random.default_rng(7)
    room = rng.standard_normal(300) * np.exp(-np.arange(300) / 60.0) * 0.1
    room[0] = 1.0
    heard = 0.05 * np.roll(np.convolve(played, room)[: len(played)], delay)
    samples = np.stack([played, heard, np.roll(heard, 2)], axis=1)
    samples[:, 1:] += 1e-3 * rng.standard_normal((len(played), 2))
    found = look(samples.astype(np.float32), mics=(0, 1), ref=(2,))
    assert found.reference == (0,) and found.mics == (1, 2)
    assert found.loopback is not None
    assert found.loopback.delay_ms[1] == pytest.approx(1000 * delay / RATE_HZ, abs=0.1)


def test_levels_are_what_they_are() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    facts = measure(tone, RATE_HZ)
    assert facts.level_dbfs == pytest.approx(-9.03, abs=0.02)
    assert facts.peak_dbfs == pytest.approx(-6.02, abs=0.02)
    assert facts.clipped_share == 0.0


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("lag", [-37, 0, 200])
def test_lag_and_sign(rate_hz: int, lag: int) -> None:
    noise = np.random.default_rng(5).standard_normal(4 * rate_hz).astype(np.float32)
    for sign in (1, -1):
        found = relate(noise, sign * np.roll(noise, lag), rate_hz, 100.0)
        assert (found.lag_samples, found.sign, found.sure) == (lag, sign, True)
    other = np.random.default_rng(6).standard_normal(4 * rate_hz).astype(np.float32)
    assert not relate(noise, other, rate_hz, 100.0).sure
    assert relate(noise, 0 * noise, rate_hz, 100.0).confidence == 0.0


def test_what_cannot_be_examined() -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        look(board()[:1000])
    with pytest.raises(ValueError, match="the audio has 3"):
        look(board(), mics=(0, 3))


def test_the_command_on_a_file_and_the_profile_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kwsd.config import load_config

    path, profile = tmp_path / "board.flac", tmp_path / "mine.toml"
    sf.write(path, board()[:, [2, 0, 1]], RATE_HZ)
    words = ["doctor", "--file", str(path), "--write-profile", str(profile)]
    assert kwsctl.main(words) == 65
    table = capsys.readouterr().out
    assert "fail" in table and "set audio.reference = [0]" in table
    assert table.endswith(f'use it by audio.profile = "{profile}"\n')
    config = load_config(
        file=None,
        flags=[("audio.profile", str(profile), "--set")],
        environment={"HOME": str(tmp_path)},
        system_directory=tmp_path,
    )
    assert (config.audio.mics, config.audio.reference) == ((1, 2), (0,))
    assert config.audio.channels == 3

    # With that profile all is well, and the profile that is there is not written over.
    again = ["doctor", "--file", str(path), "--mics", "1,2", "--reference", "0"]
    assert kwsctl.main([*again, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["worst"] == "ok" and report["reference"] == [0]
    assert kwsctl.main([*again, "--write-profile", str(profile)]) == 73
    assert "is there already" in capsys.readouterr().err


def test_a_profile_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write("board.flac", board(), RATE_HZ)
    assert kwsctl.main(["doctor", "--file", "board.flac", "--write-profile", "mine.toml"]) == 0
    # The service starts in /.
    said = f'mine.toml: use it by audio.profile = "{tmp_path}/mine.toml"\n'
    assert capsys.readouterr().out.endswith(said)


def test_a_map_that_was_not_heard_is_not_written_as_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kwsd.profile import load_profile

    sf.write(tmp_path / "quiet.flac", board(played=False), RATE_HZ)
    profile = tmp_path / "mine.toml"
    words = ["doctor", "--file", str(tmp_path / "quiet.flac"), "--write-profile", str(profile)]
    assert kwsctl.main(words) == 0
    said = "channel map not to be told from this recording, in use: mics = [0, 1], reference = [2]"
    assert said in capsys.readouterr().out
    assert load_profile(str(profile)).evidence == "documents"
    assert "doctor --play finds it" in profile.read_text()

    # Without a loudspeaker's channel there is nothing to find.
    sf.write(tmp_path / "two.flac", board(played=False)[:, :2], RATE_HZ)
    other = tmp_path / "two.toml"
    assert kwsctl.main(["doctor", "--file", str(tmp_path / "two.flac"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["map_heard"] is True
    words = ["doctor", "--file", str(tmp_path / "two.flac"), "--write-profile", str(other)]
    assert kwsctl.main(words) == 0
    assert "channel map as heard: mics = [0, 1], reference = []" in capsys.readouterr().out
    assert load_profile(str(other)).evidence == "board"


def test_a_channel_that_nobody_named_is_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_dead = board(played=False)
    one_dead[:, 0] = 0.0
    sf.write(tmp_path / "three.flac", one_dead, RATE_HZ)
    # Channel 2 takes the place of the dead one, and may be the loudspeaker's.
    words = ["doctor", "--file", str(tmp_path / "three.flac"), "--mics", "0,1", "--reference", ""]
    assert kwsctl.main(words) == 65
    assert "channel map not to be told from this recording" in capsys.readouterr().out
    whole = ["doctor", "--file", str(tmp_path / "three.flac"), "--mics", "1,2", "--reference", ""]
    kwsctl.main(whole)
    assert "channel map as heard: mics = [1, 2], reference = []" in capsys.readouterr().out


def test_a_profile_of_dead_microphones_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "dead.flac", np.zeros((SECONDS * RATE_HZ, 3)), RATE_HZ)
    profile = tmp_path / "mine.toml"
    words = ["doctor", "--file", str(tmp_path / "dead.flac"), "--write-profile", str(profile)]
    assert kwsctl.main(words) == 65
    said = capsys.readouterr()
    assert "zeros only" in said.out and "no microphone gave any sound" in said.err
    assert not profile.exists()


def test_the_name_of_a_recording_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "board.wav", board(), RATE_HZ)
    path = (tmp_path / "board.wav").rename(tmp_path / "board.raw")
    assert kwsctl.main(["doctor", "--file", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == [2]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--file", "nothing.wav"], 66, "no such file"),
        (["--file", "short.wav"], 65, "at least 1 s"),
        (["--file", "text.wav"], 65, "text.wav"),
        (["--file", "cut.wav"], 65, "truncated"),
        (["--file", "cut.flac"], 65, "truncated"),
        (["--file", "bare.raw"], 65, "samples without a header need one"),
        (["--file", "."], 65, "is a folder"),
        (["--file", "nan.wav"], 65, "not numbers"),
        (["--file", "short.wav", "--mics", "x"], 64, "--mics x"),
        (["--file", "short.wav", "--mics", "7"], 78, "channel 7 is not there"),
        (["--file", "short.wav", "--play"], 64, "--play"),
    ],
)
def test_mistakes(
    words: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write("short.wav", board()[:500], RATE_HZ)
    Path("text.wav").write_text("not audio")
    Path("bare.raw").write_bytes(bytes(range(256)) * 500)
    for cut in ("cut.wav", "cut.flac"):
        sf.write(cut, board(), RATE_HZ)
        Path(cut).write_bytes(Path(cut).read_bytes()[:-20_000])
    sf.write("nan.wav", np.full((2 * RATE_HZ, 2), np.nan), RATE_HZ, subtype="FLOAT")
    assert kwsctl.main(["doctor", *words]) == code
    captured = capsys.readouterr()
    assert says in captured.err and "Traceback" not in captured.err
