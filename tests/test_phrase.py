"""Phrases: what is refused as a wake word, and what counts as near to one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwsd.errors import UsageError
from kwsd.train import phrase as phrase_module
from kwsd.train.phrase import (
    CONSONANTS,
    FULL_VOWELS,
    VOWELS,
    WORDS,
    contains,
    contains_word,
    edit_phonemes,
    lint,
    near_words,
    phone_distance,
    phones,
    plain_name,
    sentence,
    spoken_form,
)

COMPUTER = "kəmpjˈuTəɹ"
SPOKEN = st.text(VOWELS + CONSONANTS, max_size=12)


@pytest.mark.parametrize("phrase", ["你好", "früh auf", "!?"])
def test_a_phrase_without_a_plain_name_says_both_ways_out(phrase):
    with pytest.raises(UsageError, match="letters a to z.*, or train it alone.*--name"):
        plain_name(phrase)


def test_words_of_a_name_are_joined():
    assert plain_name("Smart  mirror!") == "smart_mirror"


def test_stress_spaces_and_punctuation_are_no_phones():
    assert phones("hˈA kəmpjˈuTəɹ!") == "hAkəmpjuTəɹ"


@pytest.mark.parametrize(
    ("phonemes", "phrase", "holds"),
    [
        ("kəmpjˈutəɹ.", "kəmpjuTəɹ", True),
        ("kəmpjˈuTəɹz.", "kəmpjuTəɹ", True),
        ("kəmpjˈut.", "kəmpjuTəɹ", False),
        ("kəmpjˈut.", "", False),
    ],
)
def test_a_phrase_is_found_in_what_is_said(phonemes, phrase, holds):
    assert contains(phonemes, phrase) is holds


@pytest.mark.parametrize(
    ("phonemes", "phrase", "holds"),
    [
        ("kəmpjˈuːtə.", "kəmpjutə", True),
        ("kəmpjˈuːtəz.", "kəmpjutə", True),
        ("ðə kəmpjˈuːtə ɪz ˈɒn.", "kəmpjutə", True),
        ("kəmpjˈuːtəbᵊl.", "kəmpjutə", False),
        ("kəmpjˈuːt.", "kəmpjutə", False),
        ("vjˈuː ɡlˈɑːs.", "vjuɡlɑs", True),
        ("vjˈuːɡlˈɑːs?", "vjuɡlɑs", True),
        ("ˌQkˈA ˈɒtQ.", "QkAɒtQ", True),
        ("lˈAt ˌɒf.", "At", False),
    ],
)
def test_a_british_phrase_is_found_where_a_word_ends(phonemes, phrase, holds):
    assert contains_word(phonemes, phrase) is holds


def test_british_vowels_are_phones():
    assert phones("snˈQbYː hˈɒt ɡlˈas") == "snQbYhɒtɡlas"


def test_capitals_are_kept_for_they_are_letters():
    assert spoken_form("hey IBM") == "Hey IBM" and spoken_form("computer") == "Computer"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [("computer", COMPUTER), ("jarvis", "ʤˈɑɹvəs"), ("hey okay", "hˈA ˌOkˈA")],
)
def test_usable_phrases_pass(written, spoken):
    lint(written, spoken)


@pytest.mark.parametrize(
    ("written", "spoken", "reason"),
    [
        ("东西", "❓", "cannot be pronounced"),
        ("", "", "cannot be pronounced"),
        ("go", "ɡˈO", "too short: 2 phones"),
        ("strengths", "stɹˈɛŋkθs", "1 vowels"),
        ("a" * 40, "kəmpjˈuTəɹ" * 5, "too long: 45 phones"),
        ("Excuse Me", "ɪkskjˈuz mˌi", "too common"),
    ],
)
def test_unusable_phrases_are_refused_with_the_reason(written, spoken, reason):
    with pytest.raises(UsageError, match=reason):
        lint(written, spoken)


@given(st.integers(0, 2**32))
def test_an_edit_changes_phones_within_their_class(seed):
    edited = edit_phonemes(COMPUTER, np.random.default_rng(seed))
    assert 0 < phone_distance(phones(COMPUTER), phones(edited)) <= 2.0 + 1e-9
    assert set(phones(edited)) <= set(VOWELS + CONSONANTS)
    # The schwas stay where they are.
    assert edited.count("ə") == COMPUTER.count("ə")


def test_edits_differ_and_follow_the_seed():
    edits = [edit_phonemes(COMPUTER, np.random.default_rng(seed)) for seed in range(50)]
    again = [edit_phonemes(COMPUTER, np.random.default_rng(seed)) for seed in range(50)]
    assert edits == again
    assert len(set(edits)) > 30


@pytest.mark.parametrize("short", ["", "ə", "kˈA"])
def test_what_is_too_short_to_edit_stays(short):
    assert edit_phonemes(short, np.random.default_rng(0)) == short


@given(SPOKEN, SPOKEN)
def test_distance_is_symmetric_and_0_only_for_the_same(a, b):
    assert phone_distance(a, b) == pytest.approx(phone_distance(b, a))
    assert (phone_distance(a, b) == 0) == (a == b)
    assert phone_distance(a, b) <= len(a) + len(b)


def test_kin_phones_are_nearer_than_others():
    assert phone_distance("bA", "dA") == pytest.approx(0.7)
    assert phone_distance("bA", "AA") == pytest.approx(1.0)
    assert set(FULL_VOWELS) < set(VOWELS)


def test_near_words_sound_alike_but_are_not_the_phrase(monkeypatch):
    words = {
        "computer": "kəmpjuTəɹ",
        "computers": "kəmpjuTəɹz",
        "minicomputer": "mɪnikəmpjuTəɹ",
        "commuter": "kəmjuTəɹ",
        "commute": "kəmjut",
        "banana": "bənænə",
    }
    monkeypatch.setattr(phrase_module, "dictionary", lambda: words)
    assert near_words("Computer", COMPUTER) == ["commuter", "commute", "banana"]
    assert near_words("Computer", COMPUTER, count=1) == ["commuter"]


def test_the_dictionary_gives_near_words_for_any_phrase():
    pytest.importorskip("hibari")
    found = near_words("zanzibar", "zˈænzəbˌɑɹ")
    assert len(found) == 150
    assert "zanzibar" not in found


def test_sentences_vary_and_hold_no_loose_ends():
    rng = np.random.default_rng(0)
    made = {sentence(rng) for _ in range(200)}
    assert len(made) > 150
    assert all(text == text.strip() and "  " not in text for text in made)
    assert len(WORDS) > 100
