"""Alignment: the reference comes out as late as its echo, and says what that does to the paths."""

from __future__ import annotations

import numpy as np
import pytest
from test_dsp_delay import heard, played

from kwsd.dsp.alignment import LOST_ERLE_DB, PathMoves, ReferenceAlignment
from kwsd.dsp.delay import MARGIN_SAMPLES, USABLE_SAMPLES
from kwsd.dsp.kalman import HOP_SAMPLES, KalmanCanceller, ReferenceSpectra

PARTITIONS = (20, 6, 6)
SEARCH_MS = 300


def run(
    alignment: ReferenceAlignment,
    mic: np.ndarray,
    reference: np.ndarray,
    erle_db: float | None = None,
) -> tuple[np.ndarray, list[PathMoves]]:
    """All of what comes out, and the moves of each block."""
    count = len(mic) // HOP_SAMPLES * HOP_SAMPLES
    blocks = [s[:count].reshape(-1, HOP_SAMPLES) for s in (mic, reference)]
    pairs = [alignment.push(m, r, erle_db) for m, r in zip(*blocks, strict=True)]
    return np.concatenate([aligned for aligned, _ in pairs]), [moves for _, moves in pairs]


@pytest.mark.parametrize("delay_ms", [0, 20, 60, 250])
def test_the_reference_comes_shortly_before_its_echo(delay_ms: int) -> None:
    alignment = ReferenceAlignment(SEARCH_MS, False, PARTITIONS)
    reference = played(6.0)
    aligned, moves = run(alignment, heard(reference, delay_ms), reference)
    assert alignment.echo_heard and alignment.delay_samples is not None
    assert abs(alignment.delay_samples - 16 * delay_ms) <= 2
    # The paths move by as much as the reference is held back.
    held = -HOP_SAMPLES * sum(move.delay_partitions for move in moves)
    assert max(0, 16 * delay_ms - USABLE_SAMPLES - HOP_SAMPLES) <= held
    assert held <= max(0, 16 * delay_ms - MARGIN_SAMPLES + 2)
    last = slice(len(aligned) - 16_000, len(aligned))
    assert np.array_equal(aligned[last], reference[last.start - held : last.stop - held])
    assert not any(move.forget or move.clock_partitions for move in moves)


@pytest.mark.parametrize(
    ("erle_db", "forgotten"), [(LOST_ERLE_DB - 1, True), (LOST_ERLE_DB + 1, False), (None, False)]
)
def test_another_path_is_forgotten_where_nothing_is_lost_by_it(
    erle_db: float | None, forgotten: bool
) -> None:
    alignment = ReferenceAlignment(SEARCH_MS, False, PARTITIONS)
    reference = played(12.0)
    _, before = run(alignment, heard(reference, 20)[:96_000], reference[:96_000])
    _, moves = run(alignment, heard(reference, 150)[96_000:], reference[96_000:], erle_db)
    assert not any(move.forget for move in before)
    assert any(move.forget for move in moves) == forgotten
    assert abs((alignment.delay_samples or 0) - 2400) <= 2


@pytest.mark.parametrize("erle_db", [LOST_ERLE_DB - 1, LOST_ERLE_DB + 1])
def test_an_echo_that_was_not_there_for_long_is_of_another_path(erle_db: float) -> None:
    alignment = ReferenceAlignment(SEARCH_MS, False, PARTITIONS)
    reference = played(8.0)
    mic = heard(reference, 60)
    mic[:80_000] = played(5.0, seed=5)
    _, moves = run(alignment, mic[:80_000], reference[:80_000], erle_db)
    assert not alignment.echo_heard and not any(move.forget for move in moves)
    _, moves = run(alignment, mic[80_000:], reference[80_000:], erle_db)
    assert alignment.echo_heard
    assert any(move.forget for move in moves) == (erle_db < LOST_ERLE_DB)


def test_an_echo_that_is_there_at_once_is_of_no_other_path() -> None:
    alignment = ReferenceAlignment(SEARCH_MS, False, PARTITIONS)
    reference = played(4.0)
    for delay_ms in (20, 150):
        alignment.reset()
        _, moves = run(alignment, heard(reference, delay_ms), reference, LOST_ERLE_DB - 1)
        assert alignment.echo_heard and not any(move.forget for move in moves)


def test_what_the_cancellers_look_at_moves_with_the_delay() -> None:
    alignment = ReferenceAlignment(SEARCH_MS, False, (20,))
    reference = played(4.0)
    mic = heard(reference, 250)
    for end in range(HOP_SAMPLES, len(mic), HOP_SAMPLES):
        part = slice(end - HOP_SAMPLES, end)
        _, moves = alignment.push(mic[part], reference[part], None)
        if moves.delay_partitions:
            break
    held = -HOP_SAMPLES * moves.delay_partitions
    expected = ReferenceSpectra((20,))
    for last in range(end - held - 20 * HOP_SAMPLES, end - held + 1, HOP_SAMPLES):
        expected.push(reference[None, last - HOP_SAMPLES : last])
    assert held > 0
    np.testing.assert_array_equal(alignment.spectra.spectra, expected.spectra)


def test_reset_is_a_new_object() -> None:
    reference = played(2.0)
    alignment, new = (ReferenceAlignment(SEARCH_MS, True, PARTITIONS) for _ in range(2))
    run(alignment, heard(reference, 250), 5.0 * reference)
    alignment.reset()
    for one in (alignment, new):
        run(one, reference[:2560], reference[:2560])
    np.testing.assert_array_equal(alignment.spectra.spectra, new.spectra.spectra)


def test_nothing_that_was_played_before_a_gap_comes_behind_it() -> None:
    alignment = ReferenceAlignment(SEARCH_MS, False, PARTITIONS)
    reference = played(3.0)
    run(alignment, heard(reference, 250), reference)
    alignment.restart()
    silence = np.zeros(8000, np.float32)
    aligned, _ = run(alignment, silence, silence)
    assert not aligned.any() and alignment.spectra.silent


def test_a_gap_forgets_the_echo_and_keeps_the_delay() -> None:
    alignment = ReferenceAlignment(SEARCH_MS, True, PARTITIONS)
    reference = played(6.0)
    mic = heard(reference, 250)
    _, moves = run(alignment, mic, reference)
    held = -sum(move.delay_partitions for move in moves)
    assert held > 0
    alignment.restart()
    assert not alignment.echo_heard and alignment.delay_samples is None
    aligned, moves = run(alignment, mic, reference)
    assert not any(any(move) for move in moves)
    assert np.array_equal(aligned[16_000:32_000], reference[16_000 - 256 * held :][:16_000])
    alignment.reset()
    aligned, _ = run(alignment, mic[:2560], reference[:2560])
    assert np.array_equal(aligned, reference[:2560])


def test_a_clock_that_runs_away_is_followed() -> None:
    ppm, seconds = 150.0, 40.0
    reference = played(seconds)
    at = np.arange(len(reference)) * (1.0 - ppm * 1e-6)
    drifted = np.interp(at, np.arange(len(reference)), reference).astype(np.float32)
    alignment = ReferenceAlignment(SEARCH_MS, True, PARTITIONS)
    _, moves = run(alignment, heard(drifted, 60), reference, 20.0)
    assert alignment.drift_ppm == pytest.approx(ppm, abs=15)
    late = 60 * 16 + ppm * 1e-6 * len(reference)
    assert alignment.delay_samples == pytest.approx(late, abs=6)
    found = alignment.drift_ppm
    alignment.restart()
    assert alignment.drift_ppm == found
    assert any(move.clock_partitions for move in moves)
    assert not any(move.forget for move in moves)


def test_moves_reach_a_canceller_in_their_order() -> None:
    rng = np.random.default_rng(1)
    canceller, other = KalmanCanceller(PARTITIONS), KalmanCanceller(PARTITIONS)
    learnt = rng.standard_normal(canceller.path.shape).astype(canceller.path.dtype)
    for one in (canceller, other):
        one.path[:] = learnt
    PathMoves(-1, False, 2).apply(canceller)
    other.shift(-1)
    other.shift(2)
    assert np.array_equal(canceller.path, other.path)
    PathMoves(-1, True, 2).apply(canceller)
    assert not canceller.path.any()
    PathMoves().apply(other)
    assert np.any(other.path)
