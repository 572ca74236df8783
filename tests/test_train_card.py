"""A card does not pass synthetic positives off as recordings, nor recordings as people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.reproduced import card_misses
from kwsd.evaluate.curve import Point
from kwsd.evaluate.result import Heard, Peak, Result

pytest.importorskip("torch", reason="the recipe needs torch: pip install 'kwsd[train]'")

from kwsd.train.card import CardFacts, write_card  # noqa: E402
from kwsd.train.corpus import held_out  # noqa: E402
from kwsd.train.operating_points import OperatingPoint  # noqa: E402
from kwsd.train.pools import Spoken  # noqa: E402
from kwsd.train.recipe import _renderings  # noqa: E402


def facts(synthetic: int, count: int = 10, speakers: str = "ab") -> CardFacts:
    """Facts of positives by speakers in turn; a space is one whom nobody named."""
    heard = tuple(
        Heard(Path(f"{i}.wav"), speakers[i % len(speakers)].strip(), 0.9, ((0, 0.9),), frozenset())
        for i in range(count)
    )
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
    card = write_card(replace(facts(10), mixed=7))
    assert "10 synthetic renderings of the word, of the same synthesizer (3 by voices held" in card
    assert "out of training, 7 by mixtures of such a voice with one that trained)" in card
    assert "say little about people in front of real microphones" in card
    assert "recordings of the word" not in card and "2 speakers" not in card
    assert "(0 of 10) | synthetic voices |" in card
    assert "over renderings, not over people" in card
    assert "Any person saying the word" in card


def test_recordings_are_called_so() -> None:
    card = write_card(facts(0))
    assert "10 development recordings of the word that did not train" in card
    assert "synthetic" not in card


def test_intervals_do_not_pass_for_those_of_people() -> None:
    card = write_card(facts(0))
    assert "that did not train, by 2 speakers (as their index names them), and 12.00 h" in card
    assert "over recordings, not over people, so for other people they are too narrow" in card
    counted = [line for line in card.splitlines() if "of 10" in line]
    assert len(counted) == 9 and all(line.endswith("| 2 speakers |") for line in counted)
    assert "Other people than those in the recordings of the word." in card


@pytest.mark.parametrize("speakers", [" ", "a", "a "])
def test_a_card_says_of_speakers_what_is_known(speakers: str) -> None:
    card = write_card(facts(0, speakers=speakers))
    told = {" ": "not told", "a": "1 speaker", "a ": "1 named speaker and others"}[speakers]
    assert f"(0 of 10) | {told} |" in card
    for claim in ("clustering", "crowd", "accents", "speakers who did not train", "real audio"):
        assert claim not in card


def test_a_mixture_is_counted_apart() -> None:
    card = write_card(facts(7))
    assert "3 development recordings" in card and "7 synthetic renderings" in card
    assert "(0 of 10) | people and synthetic voices |" in card
    assert "2 speakers" not in card


def test_a_card_is_read_by_who_compares_cards(tmp_path: Path) -> None:
    (tmp_path / "CARD.md").write_text(write_card(facts(0)))
    assert card_misses(tmp_path)["0.1 far"].total == 10


def test_both_places_are_stated_apart() -> None:
    close, _, far = write_card(facts(0)).partition("Far away:")
    assert "| 0.1 | 0.020 | 0.0 % [0.0-27.8] (0 of 10) | 2 speakers |" in close
    assert "| 0.1 | 0.700 | 0.0 % [0.0-27.8] (0 of 10) | 2 speakers |" in far
    row = next(line for line in far.splitlines() if line.startswith("| medium |"))
    assert "0 seen in 12.00 h, 95 % upper bound 0.25/h" in row
    assert "10.0 % [1.8-40.4] (1 of 10) | 0.33/h" in row and row.endswith("| 2 speakers |")


def test_rates_that_were_not_kept_do_not_pass_for_kept() -> None:
    kept = facts(0)
    assert "(medium 0.5), is kept in both places:" in write_card(kept)
    count = 10
    for far in (Point(0.5, 1, count, 7, 12.0), Point(0.5, 1, count, 0, 1.5)):
        over = replace(kept, points={"medium": OperatingPoint(kept.points["medium"].close, far)})
        card = write_card(over)
        assert "kept in both places" not in card
        assert "is not kept or not shown by medium in these hours" in card


def test_what_a_network_learnt_from_others_is_said() -> None:
    said = "2 networks were trained, and the one that is best at this phrase learnt in the end"
    for distilled in (True, False):
        card = write_card(replace(facts(0), networks=2, distilled=distilled))
        assert (said in card) == distilled
        assert ("2 networks were trained, and this is the one that is best" in card) != distilled
    assert "networks were trained" not in write_card(facts(0))


def test_no_word_found_has_no_latency() -> None:
    told = facts(0)
    none = Point(0.99, 10, 10, 0, 12.0)
    deaf = replace(told, points={"medium": OperatingPoint(none, none)})
    assert "End of the word to detection at medium: no word was found." in write_card(deaf)
    assert "nan" not in write_card(deaf)
    assert "median" in write_card(told)


def test_what_lies_in_the_corpus_is_synthetic() -> None:
    heard = tuple(
        Heard(Path(path), "a", 0.9, (), frozenset())
        for path in ("work/word/corpus/positive/0.flac", "data/wake/0.flac")
    )
    result = Result(heard, (), {}, 1.0, ())
    assert _renderings(result, Spoken("word", Path("work/word/corpus"))) == [heard[0]]
    assert _renderings(result, Spoken("word")) == []


def test_a_mixture_with_a_voice_that_trained_is_not_held_out() -> None:
    assert held_out(["af_bella"]) and held_out(["af_bella", "bm_george"])
    assert not held_out(["af_bella", "am_eric"])
