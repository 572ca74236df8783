"""Labels of an index against phrases: spelling is no difference."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def letters(text: str) -> str:
    """What of a label or phrase counts: neither case nor spaces nor underscores."""
    return "".join(c for c in _composed(text) if c.isalnum())


def _composed(text: str) -> str:
    """In small letters, each with its accent as one character: some systems write two."""
    return unicodedata.normalize("NFC", text).lower()


def same_word(label: str, phrase: str) -> bool:
    """Whether an index label names the phrase."""
    return letters(label) == letters(phrase)


def holds_phrase(label: str, phrase: str) -> bool:
    """Whether what a label names has the phrase in it, as "hey jarvis" has "jarvis".

    Such a recording is neither: a model that wakes on it is right.
    """
    said, wanted = _WORD.findall(_composed(label)), _WORD.findall(_composed(phrase))
    places = range(len(said) - len(wanted) + 1)
    inside = bool(wanted) and any(said[at : at + len(wanted)] == wanted for at in places)
    return inside and not same_word(label, phrase)
