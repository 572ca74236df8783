"""Mixer of a sound card: sets the controls of a board profile through libasound's simple mixer.

A control that is not there, or does not take its value, is a warning: the card may still be heard,
and `kwsctl doctor` tells.
"""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from kwsd.profile import MixerControl, Profile

log = logging.getLogger(__name__)

_SUFFIXES = (
    " Capture Switch",
    " Capture Volume",
    " Playback Switch",
    " Playback Volume",
    " Switch",
    " Volume",
)
"""What the simple mixer cuts from the name of a kernel control."""

_QUANTITY = re.compile(r"^(-?\d+(?:\.\d+)?) ?(dB|%)$")
_CARD = re.compile(r"CARD=([^,]+)")
_CAPTURE, _PLAYBACK = "capture", "playback"
_ENUM_ITEMS_AT_MOST = 256


class MixerFault(Exception):
    """A control could not be set; the message says why."""


class ProfileMixer:
    """Sets the controls of a profile before each open of the device.

    A card that comes back after a loss has its controls at their defaults.

    Parameters
    ----------
    profile : Profile
        Nothing is done where it has no controls.
    device : str
        ``audio.device``: its card is meant where the profile names none.
    """

    def __init__(self, profile: Profile, device: str) -> None:
        self._profile = profile
        card = _CARD.search(device)
        self._card = profile.card or (f"hw:{card[1]}" if card else device)
        self._told: list[str] = []

    def apply(self) -> list[str]:
        """Set them; gives one line for each that could not be, and logs it if it is new."""
        if not self._profile.controls:
            return []
        lines = set_controls(self._card, self._profile.controls)
        if lines != self._told:
            for line in lines:
                log.warning("%s: %s", self._profile.origin, line)
        self._told = lines
        return lines


def set_controls(card: str, controls: Sequence[MixerControl]) -> list[str]:
    """Set controls in their order; gives one line for each that could not be set.

    Parameters
    ----------
    card : str
        ALSA control device, such as ``hw:audiocodec``.
    controls : sequence of MixerControl
        Names of kernel controls (``Capture Volume``) or of simple ones (``Capture``).
    """
    try:
        with _quiet_library():
            mixer = _Mixer(card)
    except MixerFault as fault:
        return [f"mixer {card}: {fault}; its controls stay as they are"]
    warnings = []
    try:
        for control in controls:
            try:
                mixer.set(control)
            except MixerFault as fault:
                warnings.append(
                    f"mixer {card}: control {control.name!r} = {control.value!r}: {fault}"
                )
    finally:
        mixer.close()
    return warnings


# File, line, function, error number, format, arguments of the format.
_ErrorHandler = ctypes.CFUNCTYPE(
    None,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
)


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libasound.so.2")
    except OSError:
        raise MixerFault("libasound.so.2 is not there; install libasound2") from None
    library.snd_strerror.restype = ctypes.c_char_p
    library.snd_mixer_first_elem.restype = ctypes.c_void_p
    library.snd_mixer_elem_next.restype = ctypes.c_void_p
    library.snd_mixer_selem_get_name.restype = ctypes.c_char_p
    library.snd_lib_error_set_local.restype = ctypes.c_void_p
    library.snd_lib_error_set_local.argtypes = [ctypes.c_void_p]
    return library


def _ignore(*arguments: object) -> None:
    """What libasound would print beside our own message."""


_say_nothing = _ErrorHandler(_ignore)


@contextmanager
def _quiet_library() -> Iterator[None]:
    """This thread's messages of libasound go nowhere."""
    library = _library()
    before = library.snd_lib_error_set_local(ctypes.cast(_say_nothing, ctypes.c_void_p))
    try:
        yield
    finally:
        library.snd_lib_error_set_local(before)


class _Mixer:
    """An open simple mixer."""

    def __init__(self, card: str) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._check(self._library.snd_mixer_open(ctypes.byref(self._handle), 0))
        try:
            self._check(self._library.snd_mixer_attach(self._handle, card.encode()))
            self._check(self._library.snd_mixer_selem_register(self._handle, None, None))
            self._check(self._library.snd_mixer_load(self._handle))
        except MixerFault:
            self.close()
            raise

    def close(self) -> None:
        self._library.snd_mixer_close(self._handle)

    def set(self, control: MixerControl) -> None:
        """Set one control; raises `MixerFault`."""
        name, direction = self._find(control.name)
        element = ctypes.c_void_p(self._elements()[name])
        value = control.value
        if isinstance(value, bool):
            self._set_switch(element, value, direction)
            return
        quantity = _QUANTITY.match(value) if isinstance(value, str) else None
        if isinstance(value, str) and quantity is None:
            self._set_word(element, value)
            return
        side = self._side(element, "volume", direction)
        if quantity is not None and quantity[2] == "dB":
            set_db = getattr(self._library, f"snd_mixer_selem_set_{side}_dB_all")
            self._check(set_db(element, ctypes.c_long(round(100 * float(quantity[1]))), 0))
            return
        low, high = ctypes.c_long(), ctypes.c_long()
        read_range = getattr(self._library, f"snd_mixer_selem_get_{side}_volume_range")
        self._check(read_range(element, ctypes.byref(low), ctypes.byref(high)))
        if quantity is not None:
            step = round(low.value + (high.value - low.value) * float(quantity[1]) / 100.0)
        else:
            step = int(value)
        if not low.value <= step <= high.value:
            raise MixerFault(f"must be {low.value} to {high.value}")
        set_volume = getattr(self._library, f"snd_mixer_selem_set_{side}_volume_all")
        self._check(set_volume(element, ctypes.c_long(step)))

    def _find(self, name: str) -> tuple[str, str]:
        """Simple name of a control, and the direction that its full name tells."""
        elements = self._elements()
        if name in elements:
            return name, ""
        for suffix in _SUFFIXES:
            base = name.removesuffix(suffix)
            if base != name and base in elements:
                direction = suffix.split()[0].lower()
                return base, direction if direction in (_CAPTURE, _PLAYBACK) else ""
        shown = ", ".join(sorted(elements)[:12]) or "none"
        raise MixerFault(f"there is no such control; there are {shown}")

    def _elements(self) -> dict[str, int]:
        found: dict[str, int] = {}
        element = self._library.snd_mixer_first_elem(self._handle)
        while element:
            pointer = ctypes.c_void_p(element)
            name = self._library.snd_mixer_selem_get_name(pointer).decode(errors="replace")
            found.setdefault(name, element)
            element = self._library.snd_mixer_elem_next(pointer)
        return found

    def _set_switch(self, element: Any, value: bool, direction: str) -> None:
        side = self._side(element, "switch", direction)
        set_all = getattr(self._library, f"snd_mixer_selem_set_{side}_switch_all")
        self._check(set_all(element, int(value)))

    def _set_word(self, element: Any, word: str) -> None:
        if not self._library.snd_mixer_selem_is_enumerated(element):
            raise MixerFault('it takes no word; give a switch, a step, "N dB" or "N %"')
        count = min(self._library.snd_mixer_selem_get_enum_items(element), _ENUM_ITEMS_AT_MOST)
        text = ctypes.create_string_buffer(128)
        words = []
        for item in range(count):
            self._check(
                self._library.snd_mixer_selem_get_enum_item_name(element, item, len(text), text)
            )
            words.append(text.value.decode(errors="replace"))
        if word not in words:
            raise MixerFault(f"must be {' or '.join(words)}")
        self._check(self._library.snd_mixer_selem_set_enum_item(element, 0, words.index(word)))

    def _side(self, element: Any, kind: str, direction: str) -> str:
        for side in (direction,) if direction else (_CAPTURE, _PLAYBACK):
            if getattr(self._library, f"snd_mixer_selem_has_{side}_{kind}")(element):
                return side
        raise MixerFault(f"it has no {direction + ' ' if direction else ''}{kind}")

    def _check(self, code: int) -> None:
        if code < 0:
            raise MixerFault(self._library.snd_strerror(code).decode(errors="replace"))
