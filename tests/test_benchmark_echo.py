"""How the echo benchmark counts words and joins detectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.echo import changes, run, signals  # noqa: E402
from benchmarks.echo.judges import count, hear  # noqa: E402
from benchmarks.echo.processors import kwsd, reference_for, side_by_side  # noqa: E402
from benchmarks.echo.rooms import RATE_HZ, Room  # noqa: E402
from benchmarks.echo.scenes import Scene  # noqa: E402

DELAY_SAMPLES = 1920
SECONDS = 27


def test_a_detection_counts_for_the_word_that_ended_about_then() -> None:
    ends = (2 * RATE_HZ, 6 * RATE_HZ)
    found = count([int(2.3 * RATE_HZ), 4 * RATE_HZ, int(9.0 * RATE_HZ)], ends)
    assert found.words == (True, False) and found.false_alarms == 2


def test_several_detectors_are_one_listener() -> None:
    def judge(signal: np.ndarray) -> list[int]:
        return np.flatnonzero(signal > 0.5).tolist()

    signals = np.zeros((2, 4 * RATE_HZ), np.float32)
    signals[0, [100, 20_000]] = 1.0
    signals[1, [600, 50_000]] = 1.0
    # 100 and 600 are one hearing of one word.
    assert hear(judge, signals) == [100, 20_000, 50_000]
    assert hear(judge, signals[1]) == [600, 50_000]


def test_front_ends_give_a_row_for_each_detector() -> None:
    rng = np.random.default_rng(4)
    reference = 0.1 * rng.standard_normal(2 * RATE_HZ).astype(np.float32)
    mics = np.stack([0.5 * reference, 0.4 * reference])
    rows = kwsd(2, ("detector", "voice", "residual"))(mics, reference)
    assert rows.shape == (3, 2 * RATE_HZ)
    np.testing.assert_array_equal(kwsd(2)(mics, reference), rows[0])
    both = side_by_side(lambda m, r: m[0], lambda m, r: r)(mics, reference)
    np.testing.assert_array_equal(both, np.stack([mics[0], reference]))


class Listening:
    """A front end that gives microphone 0 and keeps the references that it got."""

    def __init__(self) -> None:
        self.references: list[np.ndarray] = []

    def __call__(self, mics: np.ndarray, reference: np.ndarray) -> np.ndarray:
        self.references.append(reference)
        return mics[0]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Noise that is played and comes back after a bulk delay."""
    rng = np.random.default_rng(5)
    reference = 0.1 * rng.standard_normal(SECONDS * RATE_HZ).astype(np.float32)
    echo = np.pad(reference, (DELAY_SAMPLES, 0))[: len(reference)]
    near, noise = (1e-3 * rng.standard_normal((2, 2, len(reference)))).astype(np.float32)
    none = np.zeros((2, 0), np.float32)
    room = Room(none, none, none, none, 0.3, 0.05, 1.0)
    echoes = np.stack([echo, echo])
    return Scene("noise", near, echoes, noise, reference, (40_000,), DELAY_SAMPLES, room)


def given_to(name: str, scene: Scene) -> list[np.ndarray]:
    """Every reference that the three scripts give to a front end of this name."""
    front_end = Listening()
    run.run_row(name, front_end, lambda signal: [], [scene], 0.0)
    changes.steps(name, front_end, [scene])
    changes.moves(name, front_end, [scene])
    changes.drifts(name, front_end, [scene])
    signals.measure(name, front_end, scene)
    return front_end.references


@pytest.mark.parametrize("name", ["SpeexDSP MDF", "kwsd, one microphone"])
def test_another_clock_hears_the_session_again(name: str, scene: Scene) -> None:
    front_end = Listening()
    found = changes.clocks(name, front_end, [scene])
    assert len(front_end.references) == len(found)
    for reference in front_end.references:
        np.testing.assert_array_equal(reference, np.tile(reference_for(name, scene), 2))


@pytest.mark.parametrize(
    "name", ["SpeexDSP MDF", "SpeexDSP, a detector on each", "pyaec (MDF in Rust)"]
)
def test_a_peer_without_a_delay_search_gets_the_true_delay(name: str, scene: Scene) -> None:
    reference = reference_for(name, scene)
    assert reference.dtype == np.float32 and len(reference) == SECONDS * RATE_HZ
    np.testing.assert_array_equal(reference, scene.echo[0])


@pytest.mark.parametrize("name", ["nothing", "kwsd, one microphone", "WebRTC AEC3"])
def test_who_searches_the_delay_gets_what_was_played(name: str, scene: Scene) -> None:
    np.testing.assert_array_equal(reference_for(name, scene), scene.reference)


@pytest.mark.parametrize(
    ("name", "shift"), [("SpeexDSP MDF", DELAY_SAMPLES), ("kwsd, one microphone", 0)]
)
def test_every_script_gives_the_same_reference(name: str, shift: int, scene: Scene) -> None:
    references = given_to(name, scene)
    assert len(references) == 1 + 6 + 2 + 5 + 2
    played = np.pad(scene.reference, (shift, 0))[: len(scene.reference)]
    holed = played.copy()
    first = int(changes.CHANGE_S * RATE_HZ) + shift
    holed[first : first + int(changes.UNDER_RUN_S * RATE_HZ)] = 0.0
    for reference in references:
        # What is missing for a moment is missing where it would have been.
        expected = holed if not reference[first + 100] else played
        np.testing.assert_array_equal(reference, expected)
    assert sum(reference[first + 100] == 0.0 for reference in references) == 1
