"""`kwsmodel evaluate` on a real package that wakes on a tone: files in, table and files out."""

import argparse
import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from model_fixture import tone_bursts, write_tone_package

from benchmarks import precision
from kwsd.config import default_config
from kwsd.errors import AudioError, KwsdError, MissingFileError, OutputError, UsageError
from kwsd.evaluate import command
from kwsd.evaluate.scoring import Scorer, detections, sensitivity_config
from kwsd.evaluate.selection import select
from kwsd.model.package import load_package

RATE = 16000
TONE_HZ = 1000.0


def sound(hz, seconds, seed):
    """Room noise with 0.3 s of a tone at 0.8 s."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE)) / RATE
    inside = (time_s >= 0.8) & (time_s < 1.1)
    return 1e-3 * rng.standard_normal(len(time_s)) + np.where(
        inside, 0.3 * np.sin(2 * np.pi * hz * time_s), 0.0
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Six positives, one of them without the tone; 60 s of other tones; an index of all."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = ["path,label,speaker,split"]
    for number in range(6):
        hz = 3000.0 if number == 3 else TONE_HZ
        sf.write(folder / f"p{number}.wav", sound(hz, 2.0, number), RATE)
        rows.append(f"p{number}.wav,tone,{'ab'[number % 2]},dev")
    (folder / "other").mkdir()
    for number in range(4):
        name = f"other/n{number}.wav"
        sf.write(folder / name, sound(2000.0 + 900 * number, 15.1, 10 + number), RATE)
        rows.append(f"{name},hum,,dev")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def evaluate(*arguments):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", *map(str, arguments)])
    return args.run(args)


def test_an_evaluation_prints_and_writes_its_figures(recordings, tone_model, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    outputs = {key: tmp_path / f"out.{key}" for key in ("csv", "png", "json")}
    code = evaluate(
        tone_model,
        "--index",
        recordings / "index.csv",
        "--split",
        "dev",
        "--negatives",
        recordings / "other",
        "--scores",
        outputs["csv"],
        "--det",
        outputs["png"],
        "--json",
        outputs["json"],
    )
    said = capsys.readouterr()
    assert code == 0
    assert ": 6 positives by 2 speakers, 0.02 h of negatives, clean" in said.out
    assert "no false accept seen" in said.out
    figures = json.loads(outputs["json"].read_text())
    medium = figures["sensitivities"]["medium"]
    assert (medium["misses"], medium["false_accepts"]) == (1, 0)
    assert -320 < medium["latency_median_ms"] < 100
    assert set(figures["speakers"]["groups"]) == {"a", "b"}
    assert outputs["csv"].read_text().startswith("kind,path,time_s,speaker,score\n")
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.json", "out.png"]


@pytest.mark.parametrize("name", ["plot", "plot.foo", "plot.txt"])
def test_a_plot_of_no_known_kind_costs_no_hour(tone_model, tmp_path, name):
    with pytest.raises(UsageError, match=r"--det .*: must end in \.png or \.svg or \.pdf"):
        evaluate(tone_model, "--negatives", tmp_path, "--det", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_the_report_and_leaves_no_file(
    recordings, tone_model, tmp_path, capsys, small_files
):
    names = [tmp_path / "out.csv", tmp_path / "out.json"]
    wanted = [tone_model, "--index", recordings / "index.csv", "--split", "dev"]
    wanted += ["--negatives", recordings / "other", "--scores", names[0], "--json", names[1]]
    with small_files(100), pytest.raises(OutputError) as error:
        evaluate(*wanted)
    assert f"{names[0]} cannot be written: File too large" in str(error.value)
    assert "no false accept seen" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_workers_change_nothing(recordings, tone_model, capsys):
    said = []
    for workers in (1, 2):
        evaluate(
            tone_model,
            "--positives",
            recordings,
            "--negatives",
            recordings / "other",
            "--index",
            recordings / "index.csv",
            "--workers",
            workers,
            "--noise",
            recordings / "other",
            "--snr-db",
            10,
            "--draws",
            2,
        )
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "noise at 10 dB (4 recordings)" in said[0]
    assert "6 positives by 2 speakers in 2 draws each" in said[0] and "/12 " in said[0]


@pytest.fixture
def spelt_otherwise(recordings, tmp_path):
    """A package that is called otherwise than its phrase, and an index that spells the phrase."""
    index = recordings / "spelt.csv"
    index.write_text((recordings / "index.csv").read_text().replace(",tone,", ",Pure_Tone,"))
    yield write_tone_package(tmp_path / "beep", "beep", phrase="pure tone"), index
    index.unlink()


def test_the_word_is_found_however_the_index_spells_it(
    recordings, spelt_otherwise, tmp_path, capsys
):
    model, index = spelt_otherwise
    evaluate(model, "--index", index, "--split", "dev", "--negatives", recordings / "other")
    assert "beep 0.0.1: 6 positives by 2 speakers, 0.02 h" in capsys.readouterr().out
    # One's own recordings beside it: the word of the index is no negative.
    own = tmp_path / "own"
    own.mkdir()
    for number in range(5):
        sf.write(own / f"{number}.wav", sound(TONE_HZ, 2.0, 20 + number), RATE)
    scores = tmp_path / "scores.csv"
    evaluate(
        *(model, "--index", index, "--positives", own, "--negatives", recordings),
        *("--scores", scores),
    )
    assert "beep 0.0.1: 5 positives, 0.02 h" in capsys.readouterr().out
    assert "p0.wav" not in scores.read_text()


def test_both_precisions_are_asked_for_the_phrase(recordings, spelt_otherwise, monkeypatch, capsys):
    model, index = spelt_otherwise
    asked = [model, "--index", index, "--negatives", recordings / "other", "--workers", 1]
    monkeypatch.setattr("sys.argv", ["precision", *map(str, asked)])
    monkeypatch.setattr(precision, "TIMED_STEPS", 3)
    assert precision.main() == 0
    assert "largest difference of a positive's score" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--positives", "{folder}", "--negatives", "{folder}/nowhere"], MissingFileError),
        (["--negatives", "{folder}/other"], UsageError),
        (["--positives", "{folder}", "--negatives", "{folder}/other", "--snr-db", "5"], UsageError),
        (["--positives", "{folder}", "--negatives", "{folder}/other", "--draws", "2"], UsageError),
        (["--positives", "{folder}/p0.wav", "--negatives", "{folder}/other"], AudioError),
        (
            [
                "--positives",
                "{folder}",
                "--negatives",
                "{folder}/other",
                "--json",
                "{folder}/x",
                "--scores",
                "{folder}/x",
            ],
            UsageError,
        ),
        (
            [
                "--positives",
                "{folder}",
                "--negatives",
                "{folder}/other",
                "--json",
                "{folder}/nowhere/x",
            ],
            KwsdError,
        ),
    ],
)
def test_what_cannot_be_done_is_said_before_any_output(recordings, tone_model, arguments, error):
    before = sorted(recordings.rglob("*"))
    with pytest.raises(error):
        evaluate(tone_model, *(a.format(folder=recordings) for a in arguments))
    assert sorted(recordings.rglob("*")) == before


def test_a_longer_phrase_with_the_word_in_it_is_no_negative(recordings):
    listed = recordings / "longer.csv"
    rows = [f"other/n{i}.wav,{label}" for i, label in enumerate(("my tone", "tones", "hum", ""))]
    listed.write_text("\n".join(["path,label", "p0.wav,tone", *rows]) + "\n")
    chosen = select((), (recordings / "other",), listed, "tone", None)
    assert [path.name for path in chosen.negatives] == ["n1.wav", "n2.wav", "n3.wav"]
    listed.unlink()


def test_names_that_are_no_text_cost_nothing(recordings, tone_model, tmp_path, capsysbinary):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/W\xf6rter"))
    place.mkdir()
    for number in range(6):
        name = os.fsdecode(b"K\xfcche%d.wav" % number)
        shutil.copy(recordings / f"p{number}.wav", place / name)
    noise, scores = recordings / "other", tmp_path / "scores.csv"
    words = ["--positives", place, "--negatives", noise, "--scores", scores]
    assert evaluate(tone_model, *words, "--json", tmp_path / "out.json") == 0
    assert "K?che3.wav" in scores.read_text()
    json.loads((tmp_path / "out.json").read_text())
    capsysbinary.readouterr().out.decode()


@pytest.mark.parametrize("bad", [["--workers", "0"], ["--snr-db", "nan"], ["--seed", "x"]])
def test_numbers_out_of_range_are_refused(recordings, tone_model, bad, capsys):
    with pytest.raises(SystemExit):
        evaluate(tone_model, "--negatives", recordings, *bad)
    assert "must be" in capsys.readouterr().err


@pytest.mark.parametrize("plays_the_word", [False, True])
def test_the_word_of_the_loudspeaker_is_judged_as_the_daemon_does(
    plays_the_word, tone_model, tmp_path, kwsd
):
    """A talker, while the device plays the word as well, or only noise."""
    pcm = tone_bursts(6.0)
    played = 0.05 * np.random.default_rng(8).standard_normal(6 * RATE)
    if plays_the_word:
        played[:-1600] += tone_bursts(6.0, seed=1)[1600:]
    path = tmp_path / "both.wav"
    sf.write(path, np.stack([pcm, played], 1), RATE, subtype="FLOAT")

    def wakes(*more):
        channels = ("--set", "audio.mics=[0]", "--set", "audio.reference=[1]")
        result = kwsd("--replay", path, "--model", tone_model, *channels, *more)
        assert result.returncode == 0, result.stderr
        return [json.loads(line)["detected_s"] for line in result.stdout.splitlines()]

    daemon = wakes()
    assert len(daemon) == (0 if plays_the_word else 3)
    assert wakes("--set", "wake.reference_rule=false")
    with closing(Scorer([load_package(tone_model)])) as scorer:
        (track,) = scorer.score(pcm, played.astype(np.float32))
        found = detections(track, sensitivity_config(scorer.config, scorer.packages[0], "medium"))
        surest = track.undisputed(scorer.config.wake.rearm_fraction).max()
    assert [round(one.sample / RATE, 3) for one in found] == daemon
    assert (surest >= 0.7) == (not plays_the_word)


def test_without_the_rule_a_score_is_never_the_loudspeakers(tone_model):
    pcm = tone_bursts(2.5)
    played = np.pad(tone_bursts(2.5, seed=1)[1600:], (0, 1600))
    said = {}
    for rule in (True, False):
        config = default_config()
        config = replace(config, wake=replace(config.wake, reference_rule=rule))
        with closing(Scorer([load_package(tone_model)], config)) as scorer:
            (track,) = scorer.score(pcm, played.astype(np.float32))
        said[rule] = track.reference.max()
    assert said[True] >= 0.7 and said[False] == 0.0


def test_scores_are_those_of_a_replay(recording, tone_model, tmp_path, kwsd):
    scores = tmp_path / "scores.csv"
    assert kwsd("--replay", recording, "--scores", scores).returncode == 0
    replayed = [line.split(",") for line in scores.read_text().splitlines()[1:]]
    pcm, _ = sf.read(recording, dtype="float32")
    with closing(Scorer([load_package(tone_model)])) as scorer:
        (track,) = scorer.score(pcm)
    heard = [
        (f"{end / RATE:.3f}", f"{score:.4f}")
        for end, score in zip(track.end_samples, track.smoothed, strict=True)
    ]
    assert heard == [(time_s, score) for time_s, _, score in replayed]
