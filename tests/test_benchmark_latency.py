"""What the latency benchmark says of a round in which no word was found."""

from __future__ import annotations

import sys
from pathlib import Path

# Behind the installed package: the benchmarks are not part of it.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.service.latency import bus_text, waits_text  # noqa: E402


def test_a_round_without_a_word_is_said_in_words() -> None:
    assert waits_text([]).startswith("no word was found")
    assert bus_text([]) == "bus: no event"


def test_what_words_waited_for_is_the_end_of_their_block() -> None:
    assert waits_text([160, 256]) == ("the samples waited 17.0 ms (most 20.0) for a full block")
    assert bus_text([0.001, 0.003]) == "bus: median 2.00 ms"
