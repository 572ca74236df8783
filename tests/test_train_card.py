"""A card does not pass synthetic positives off as recordings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kwsd.evaluate.curve import Point
from kwsd.evaluate.result import Heard, Peak, Result

pytest.importorskip("torch", reason="the recipe needs torch: pip install 'kwsd[train]'")

from kwsd.train.card import CardFacts, write_card  # noqa: E402
from kwsd.train.operating_points import OperatingPoint  # noqa: E402
from kwsd.train.pools import Spoken  # noqa: E402
from kwsd.train.recipe import _synthetic  # noqa: E402


def facts(synthetic: int, count: int = 10) -> CardFacts:
    heard = tuple(Heard(Path(f"{i}.wav"), "a", 0.9, ((0, 0.9),), frozenset()) for i in range(count))
    content = SimpleNamespace(name="word", phrase="word", network=b"", data=())
    net = SimpleNamespace(parameters=1, multiplies_per_step=1)
    return CardFacts(
        cast(Any, content),
        "kwsmodel train word",
        cast(Any, net),
        Result(heard, (), {}, 12.0, ()),
        Result(heard, (Peak(Path("tv.wav"), 1.0, 0.7),) * 4, {}, 12.0, ()),
        {"medium": OperatingPoint(Point(0.5, 0, count, 0, 12.0), Point(0.5, 1, count, 4, 12.0))},
        synthetic,
    )


def test_synthetic_positives_are_called_so() -> None:
    card = write_card(facts(10))
    assert "10 synthetic renderings of the word by voices held out of training" in card
    assert "say little about people in front of real microphones" in card
    assert "recordings of the word by speakers" not in card
    assert "Any person saying the word" in card


def test_recordings_are_called_so() -> None:
    card = write_card(facts(0))
    assert "10 development recordings of the word by speakers who did not train" in card
    assert "synthetic" not in card


def test_a_mixture_is_counted_apart() -> None:
    card = write_card(facts(7))
    assert "3 development recordings" in card and "7 synthetic renderings" in card


def test_both_places_are_stated_apart() -> None:
    close, _, far = write_card(facts(0)).partition("Far away:")
    assert "| 0.1 | 0.020 | 0.0 % [0.0-27.8] (0 of 10) |" in close
    assert "| 0.1 | 0.700 | 0.0 % [0.0-27.8] (0 of 10) |" in far
    row = next(line for line in far.splitlines() if line.startswith("| medium |"))
    assert "0 seen in 12.00 h, 95 % upper bound 0.25/h" in row
    assert "10.0 % [1.8-40.4] (1 of 10) | 0.33/h" in row


def test_what_lies_in_the_corpus_is_synthetic() -> None:
    heard = tuple(
        Heard(Path(path), "a", 0.9, (), frozenset())
        for path in ("work/word/corpus/positive/0.flac", "data/wake/0.flac")
    )
    result = Result(heard, (), {}, 1.0, ())
    assert _synthetic(result, Spoken("word", Path("work/word/corpus"))) == 1
    assert _synthetic(result, Spoken("word")) == 0
