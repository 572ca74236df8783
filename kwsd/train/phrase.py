"""What is said: is a phrase fit to be a wake word, what sounds like it, what else is said.

Phonemes are those of the synthesizer's pronunciation dictionary (package hibari-tts), one symbol
a phone; stress marks and spaces are not phones.
"""

from __future__ import annotations

import gzip
import importlib.resources
import json
import re
from functools import lru_cache

import numpy as np

from kwsd.errors import RuntimeUnavailable, UsageError

VOWELS = "ɑæʌɔɛɜɪiʊuAIOWYəᵊᵻQɒaɐ"
"""The last four are British alone."""

FULL_VOWELS = "ɑæʌɔɛɜɪiʊuAIOWY"
CONSONANTS = "bdfɡhkmnpstvwzθðʃʒʧʤŋɹjlɾT"
STRESS_AND_LENGTH = "ˈˌː"
MIN_PHONES = 5
MAX_PHONES = 30
MIN_VOWELS = 2

COMMON = frozenset(
    "okay hello please maybe because really tomorrow today something anything nothing somebody "
    "everybody people yesterday another together morning evening sorry water number mother father "
    "sister brother doctor thank you good morning excuse me all right of course i know".split()
)
"""Single words that fill ordinary talk: as a wake word they would fire all day."""

WORDS = (
    "hello yes no maybe okay seven orange music kitchen window mother Sunday remember important "
    "banana umbrella Africa camera vanilla agenda Jessica opera algebra America idea sofa pizza "
    "Canada extra Alabama Cortana alarm volume tomorrow yesterday eleven twenty station garden "
    "chocolate television telephone radio bicycle elephant hospital mountain river yellow purple "
    "silver market teacher doctor lawyer officer butter pepper dinner breakfast sandwich potato "
    "tomato carrot holiday summer winter autumn holiday picture finger shoulder pocket jacket "
    "trousers paper pencil table curtain carpet mirror candle basket bottle hammer button ticket "
    "airport engine driver passenger village castle island harbour weather thunder lightning "
    "morning evening midnight birthday wedding party dancer singer actor painter writer reader "
    "student problem answer question sentence letter number hundred thousand million minute second "
    "quarter remote computer jarvis service harvest garbage marvellous commuter compute permit "
    "customer company comfort compass campus garage charcoal target artist guitar harmony army "
    "Alexander Alexandra Vanessa Melissa Rebecca Amelia Elena Angela Felix Oliver Jasper Travis "
    "Elvis Davis Harvey Marcus Charlie Martha Carla Barbara Victoria Samuel Timothy Jennifer"
).split()

OPENERS = (
    "turn on|turn off|switch off|dim|open|close|start|stop|find|check|play|pause|show me|where is|"
    "what about|tell me about|I forgot|please bring|she wants|they never saw|we could use|"
    "nobody told him about|he said|let's talk about|how much is|call|remind me of|"
    "the doctor needs|I am looking for|yesterday we bought"
).split("|")
OBJECTS = (
    "the kitchen lights|the television|some music|the garage door|a glass of water|"
    "my brother's phone|the weather forecast|seven apples|the next exit|an extra blanket|"
    "the old museum|the red bicycle|her sister's wedding|a cup of coffee|the washing machine|"
    "that long letter|two tickets to Texas|the school bus|a taxi downtown|the alarm clock|"
    "his lecture notes|an electric guitar|your favourite song|the best restaurant|"
    "a lot of questions|the shopping list|another excuse|ten minutes|the relaxing bath|"
    "the blue jacket|lemon juice and sugar|all the boxes|the company car|a new customer|"
    "the common cold|a harvest festival|the service station|a jar of honey"
).split("|")
ENDINGS = (
    "|. Right now.| before dinner.| in the bedroom.| please.| again tomorrow.| or not?|"
    " with a smile.| at half past six.| as usual."
).split("|")


def phones(phonemes: str) -> str:
    """Only the phones of a pronunciation: no stress, spaces or punctuation."""
    return "".join(symbol for symbol in phonemes if symbol in VOWELS or symbol in CONSONANTS)


def spoken_form(phrase: str) -> str:
    """As the synthesizer is given it: a name begins with a capital, and capitals are letters."""
    return phrase[:1].upper() + phrase[1:]


def plain_name(phrase: str) -> str:
    """Name of a phrase's package and folders: lower case, words joined by underscores.

    Raises
    ------
    UsageError
        Nothing of it can be part of a name.
    """
    name = "_".join("".join(c if c.isalnum() else " " for c in phrase.lower()).split())
    if not name or not name.isascii():
        raise UsageError(
            f"phrase {phrase!r} gives no plain name: write it in the letters a to z as an English "
            "reader would, or train it alone and set a name with --name"
        )
    return name


def lint(phrase: str, phonemes: str) -> None:
    """Refuse a phrase that cannot make a usable wake word.

    Parameters
    ----------
    phrase : str
        As the user wrote it.
    phonemes : str
        Its pronunciation.

    Raises
    ------
    UsageError
        The reason, and what would do.
    """
    said = phones(phonemes)
    if not said:
        raise UsageError(
            f"phrase {phrase!r} cannot be pronounced: no word of it is in the dictionary and no "
            "letters remain; write it as it is spoken, in Latin letters"
        )
    vowels = sum(symbol in VOWELS for symbol in said)
    if len(said) < MIN_PHONES or vowels < MIN_VOWELS:
        raise UsageError(
            f"phrase {phrase!r} is too short: {len(said)} phones and {vowels} vowels, at least "
            f"{MIN_PHONES} and {MIN_VOWELS} are needed; add a word, as in 'hey {phrase}'"
        )
    if len(said) > MAX_PHONES:
        raise UsageError(
            f"phrase {phrase!r} is too long: {len(said)} phones, at most {MAX_PHONES}; the network "
            "hears 1.2 s at once"
        )
    words = phrase.lower().split()
    if all(word in COMMON for word in words):
        raise UsageError(
            f"phrase {phrase!r} is too common: it is part of ordinary talk and would fire all day; "
            "choose a rarer word or put a name before it"
        )


def sentence(rng: np.random.Generator) -> str:
    """An everyday sentence put together from parts."""
    parts = (OPENERS, OBJECTS, ENDINGS)
    opener, thing, ending = (part[int(rng.integers(len(part)))] for part in parts)
    return f"{opener} {thing}{ending}"


def edit_phonemes(phonemes: str, rng: np.random.Generator) -> str:
    """Change one or two phones, vowels to vowels and consonants to consonants.

    Unstressed schwas stay: changing only them leaves the word as it is.
    """
    symbols = list(phonemes)
    for _ in range(int(rng.integers(1, 3))):
        places = [i for i, s in enumerate(symbols) if s in FULL_VOWELS or s in CONSONANTS]
        if len(places) < 3:
            return "".join(symbols)
        place = places[int(rng.integers(len(places)))]
        kin = FULL_VOWELS if symbols[place] in FULL_VOWELS else CONSONANTS
        others = [s for s in kin if s != symbols[place]]
        symbols[place] = others[int(rng.integers(len(others)))]
        if rng.random() < 0.15:
            del symbols[place]
    edited = "".join(symbols)
    # The second change may have undone the first one.
    return edited if phones(edited) != phones(phonemes) else edit_phonemes(phonemes, rng)


def phone_distance(a: str, b: str) -> float:
    """Edit distance of two pronunciations; vowel for vowel or consonant for consonant costs 0.7."""
    row = [float(j) for j in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], float(i)
        for j, y in enumerate(b, 1):
            change = 0.0 if x == y else 0.7 if (x in VOWELS) == (y in VOWELS) else 1.0
            above, row[j] = row[j], min(row[j] + 1.0, row[j - 1] + 1.0, above + change)
    return row[-1]


def contains(phonemes: str, phrase_phones: str) -> bool:
    """Whether something says the phrase, stress, pauses and flapped t not regarded."""
    said = phones(phonemes).replace("T", "t")
    return bool(phrase_phones) and phrase_phones.replace("T", "t") in said


def contains_word(phonemes: str, phrase_phones: str) -> bool:
    """Whether something says the phrase and then a word ends, inflected or not.

    For British phrases: they lack the r at their end, so "computer" is the beginning of
    "computable", which is no "computer" but the best of negatives.
    """
    if len(phrase_phones) < MIN_PHONES:
        return False
    said = "".join(s if phones(s) else "" if s in STRESS_AND_LENGTH else " " for s in phonemes)
    # Words of the phrase may be parted or run together.
    phrase = " ?".join(phrase_phones.replace("T", "t"))
    return re.search(f"{phrase}(?:[szd]|[ɪᵻ]z|ɪŋ)?(?: |$)", said.replace("T", "t")) is not None


@lru_cache(maxsize=1)
def _entries() -> dict[str, str]:
    """Words of the American dictionary and their pronunciations with stress."""
    try:
        asset = importlib.resources.files("hibari") / "assets" / "lexicon_us_gold.json.gz"
        entries = json.loads(gzip.decompress(asset.read_bytes()))
    except (ModuleNotFoundError, FileNotFoundError):
        raise RuntimeUnavailable(
            "the pronunciation dictionary needs the package 'hibari-tts': pip install 'kwsd[train]'"
        ) from None
    found = {}
    for word, value in entries.items():
        spoken = value.get("DEFAULT") if isinstance(value, dict) else value
        if isinstance(spoken, str) and len(spoken) > 1:
            found[word] = spoken
    return found


def pronunciations() -> list[str]:
    """All pronunciations of the American dictionary, names included, with stress."""
    return list(_entries().values())


@lru_cache(maxsize=1)
def dictionary() -> dict[str, str]:
    """Phones of the American dictionary, lower-case words only."""
    return {
        word: phones(spoken)
        for word, spoken in _entries().items()
        if word.isalpha() and word.islower() and len(word) > 2
    }


def near_words(phrase: str, phonemes: str, count: int = 150) -> list[str]:
    """Dictionary words that sound most like a phrase, without those that sound the same.

    Inflected forms that contain the whole phrase ("computers") stay out as well: to fire on them
    is no error that a user would report.
    """
    target = phones(phonemes)
    written = "".join(phrase.lower().split())
    ranked = []
    for word, spoken in dictionary().items():
        if abs(len(spoken) - len(target)) > 4 or target in spoken or written in word:
            continue
        distance = phone_distance(target, spoken)
        if distance > 0.8:
            ranked.append((distance, word))
    return [word for _, word in sorted(ranked)[:count]]
