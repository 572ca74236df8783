"""Labels of an index against phrases: spelling is no difference."""

from __future__ import annotations


def letters(text: str) -> str:
    """What of a label or phrase counts: neither case nor spaces nor underscores."""
    return "".join(c for c in text.lower() if c.isalnum())


def same_word(label: str, phrase: str) -> bool:
    """Whether an index label names the phrase."""
    return letters(label) == letters(phrase)
