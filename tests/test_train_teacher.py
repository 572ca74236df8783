"""The teacher: what it says belongs to where it was said, and without it that is said clearly."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("soxr", reason="training needs soxr")
pytest.importorskip("pyroomacoustics", reason="training needs pyroomacoustics")

from kwsd.dsp.features import BANDS, HOP_SAMPLES  # noqa: E402
from kwsd.errors import RuntimeUnavailable  # noqa: E402
from kwsd.train import lessons  # noqa: E402
from kwsd.train import teacher as teaching  # noqa: E402
from kwsd.train.augment import (  # noqa: E402
    TOTAL_FRAMES,
    WARM_FRAMES,
    WINDOW_FRAMES,
    Windows,
)
from kwsd.train.layers import STRIDE  # noqa: E402
from kwsd.train.lessons import (  # noqa: E402
    LessonWindows,
    load_lessons,
    prepare_lessons,
    save_lessons,
)
from kwsd.train.listen import known_length_s, stretches  # noqa: E402
from kwsd.train.pools import Amounts, Pools, Spoken, Word  # noqa: E402
from kwsd.train.recordings import Recording  # noqa: E402
from kwsd.train.teacher import (  # noqa: E402
    EVERY_FRAMES,
    LAST_FRAME,
    SIZE,
    SPAN_FRAMES,
    Lesson,
    Teacher,
    give_lesson,
)

RATE_HZ = 16_000
needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec(teaching.PACKAGE) is None, reason="needs pyopen-wakeword"
)


def murmur(seconds: float, seed: int = 1) -> np.ndarray:
    """Noise whose colour and level change, about as often as those of speech."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(int(seconds * 8)):
        time_s = np.arange(RATE_HZ // 8) / RATE_HZ
        pitch_hz = rng.uniform(100, 250)
        tones = sum(
            rng.uniform(0, 1) * np.sin(2 * np.pi * k * pitch_hz * time_s) for k in range(1, 12)
        )
        pieces.append(0.03 * tones * rng.uniform(0.1, 1.0))
    return np.concatenate(pieces).astype(np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("speech")
    paths = [folder / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, murmur(2.0, number), RATE_HZ)
    return paths


@needs_the_package
def test_an_answer_is_about_its_own_stretch() -> None:
    teacher = Teacher()
    pcm = murmur(4.0)
    answers = teacher(pcm)
    # Four seconds hold 397 windows of 32 ms.
    assert answers.shape == ((397 - SPAN_FRAMES) // EVERY_FRAMES + 1, SIZE)
    shift = 3
    late = teacher(pcm[shift * EVERY_FRAMES * HOP_SAMPLES :])
    np.testing.assert_allclose(late, answers[shift : shift + len(late)], atol=0.05)
    # What comes later hardly matters (its loudest moment sets where quiet ends: 80 dB below),
    # and other speech is something else.
    changed = pcm.copy()
    changed[2 * RATE_HZ :] = murmur(2.0, 7)
    before = (200 - SPAN_FRAMES) // EVERY_FRAMES
    others = teacher(changed)
    np.testing.assert_allclose(others[:before], answers[:before], atol=2.0)
    assert np.abs(others[-1] - answers[-1]).max() > 20.0


@needs_the_package
def test_what_is_too_short_is_not_answered() -> None:
    assert Teacher()(murmur(0.5)).shape == (0, SIZE)


@needs_the_package
def test_a_lesson_sets_answers_beside_the_frames_they_are_about(recordings: list[Path]) -> None:
    lesson = give_lesson(recordings, True, 2, (), np.random.default_rng(5))
    assert lesson is not None and lesson.real and lesson.phrase == 2
    assert len(lesson.frames) == EVERY_FRAMES * len(lesson.answers)
    asked = np.flatnonzero(~np.isnan(lesson.answers[:, 0]))
    # The first answer ends with the first frame by which a whole stretch was heard.
    assert asked[0] * EVERY_FRAMES + LAST_FRAME == SPAN_FRAMES - 1
    assert np.array_equal(asked, np.arange(asked[0], asked[-1] + 1))
    assert asked[-1] >= len(lesson.answers) - 2


@needs_the_package
def test_what_cannot_be_read_is_left_out(recordings: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    rng = np.random.default_rng
    whole = give_lesson(recordings[:1], False, -1, (), rng(5))
    less = give_lesson([broken, recordings[0]], False, -1, (), rng(5))
    assert whole is not None and less is not None
    np.testing.assert_array_equal(whole.frames, less.frames)
    assert give_lesson([broken], False, -1, (), rng(5)) is None


@needs_the_package
def test_lessons_are_the_same_whatever_the_number_of_processes(recordings: list[Path]) -> None:
    data = [Recording(path, "speech", "set", "CC0", 2.0) for path in recordings]
    data += [Recording(recordings[0], "positive", "set", "CC0", 2.0, phrase="lamp")] * 3
    lines: list[str] = []
    amounts = Amounts({"positive": 0}, rooms=2)
    one, two = (
        prepare_lessons([Spoken("lamp")], data, amounts, 3, lines.append, workers)
        for workers in (1, 2)
    )
    assert [lesson.phrase for lesson in one] == [-1, 0]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.answers, b.answers)
    assert lines[0] == lines[1] and "people 0.0" in lines[0]


@needs_the_package
def test_lessons_are_bounded_in_length(
    recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [Recording(path, "speech", "set", "CC0", 2.0) for path in recordings * 2]

    def given() -> list[Lesson]:
        return prepare_lessons([], data, Amounts({}, rooms=2), 3, lambda line: None)

    assert len(given()) == 1
    monkeypatch.setattr(lessons, "LESSON_S", 2.5 * known_length_s(*stretches(recordings[0])))
    assert len(given()) == len(recordings)


def test_without_its_package_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "PACKAGE", "no_such_package_is_there")
    with pytest.raises(RuntimeUnavailable, match="pip install .*--no-teacher"):
        Teacher()


def test_another_network_does_not_teach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "another_package"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('its code is not to be run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(teaching, "PACKAGE", "another_package")
    with pytest.raises(RuntimeUnavailable, match="cannot be read"):
        Teacher()
    (folder / "models" / "melspectrogram.tflite").write_bytes(b"something else")
    with pytest.raises(RuntimeUnavailable, match="another network"):
        Teacher()


def numbered(rows: int, real: bool = True, phrase: int = -1) -> Lesson:
    """A lesson in which the answer tells its row, as does the level of the frames."""
    level = np.repeat(np.arange(rows) * 0.02 - 9.0, EVERY_FRAMES)[:, None]
    answers = np.repeat(np.arange(rows, dtype=np.float16)[:, None], SIZE, axis=1)
    return Lesson(np.tile(level, (1, BANDS)).astype(np.float16), answers, real, phrase)


@pytest.fixture(scope="module")
def windows() -> Windows:
    frames = np.full((60, BANDS), -9, np.float16)
    noise = np.full((1500, BANDS), -9, np.float16)
    return Windows(Pools([Word(frames, 0, 40, False)], {"speech": noise}))


def test_an_answer_is_due_at_the_step_that_has_heard_its_last_frame(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[np.ndarray] = []

    def features(rng: np.random.Generator, power: np.ndarray, roomy: np.ndarray) -> np.ndarray:
        heard.append(power)
        return np.zeros((len(power), BANDS, WINDOW_FRAMES), np.float32)

    monkeypatch.setattr(windows, "features", features)
    lesson = numbered(200)
    batch = LessonWindows([lesson], windows).batch(np.random.default_rng(2), 20)
    # Answers come of unit variance: undo it.
    spread, mean = lesson.answers[:, 0].astype(float).std(), lesson.answers[:, 0].mean()
    rows = batch.answers[:, :, 0] * (spread + 1e-3) + mean
    for window, power in zip(rows, heard[0], strict=True):
        asked = np.flatnonzero(~np.isnan(window))
        assert len(asked) > 15
        assert asked[0] >= SPAN_FRAMES // STRIDE
        for step in asked:
            last = WARM_FRAMES + STRIDE * step + STRIDE - 1
            # A vocal tract moves bands, and all bands are alike here.
            told = (np.log(power[last, 10]) + 9.0) / 0.02
            assert abs(window[step] - told) < 0.6


def test_people_and_synthesizers_are_both_heard_and_long_lessons_more(windows: Windows) -> None:
    lessons = [numbered(60, True, 0), numbered(600, True, 1), numbered(300, False)]
    drawn = LessonWindows(lessons, windows)
    rng = np.random.default_rng(4)
    counts = np.zeros(3)
    for _ in range(2000):
        lesson = drawn._draw(rng)
        counts[next(i for i, one in enumerate(lessons) if one is lesson)] += 1
    shares = counts / counts.sum()
    assert abs(shares[:2].sum() - 0.6) < 0.05
    assert 7 < counts[1] / counts[0] < 14


def test_one_kind_alone_teaches_and_every_window_can_be_cut(windows: Windows) -> None:
    shortest = numbered(-(-(TOTAL_FRAMES + 1) // EVERY_FRAMES), False)
    batch = LessonWindows([shortest], windows).batch(np.random.default_rng(1), 30)
    assert batch.features.shape == (30, BANDS, WINDOW_FRAMES)
    assert np.isfinite(batch.features).all()


def test_kept_lessons_are_those_that_were_given(tmp_path: Path) -> None:
    lessons = [numbered(50, True, 3), numbered(70, False)]
    save_lessons(lessons, tmp_path / "lessons.npz")
    for before, after in zip(lessons, load_lessons(tmp_path / "lessons.npz"), strict=True):
        np.testing.assert_array_equal(before.frames, after.frames)
        np.testing.assert_array_equal(before.answers, after.answers)
        assert (before.real, before.phrase) == (after.real, after.phrase)
    save_lessons([], tmp_path / "none.npz")
    assert load_lessons(tmp_path / "none.npz") == []
