"""Sound cards of this machine, by name: numbers change from boot to boot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROC_ASOUND = Path("/proc/asound")

_CARD = re.compile(r"^\s*(\d+) \[(\S+)\s*\]: (.*)$")


@dataclass(frozen=True, slots=True)
class CaptureCard:
    """A capture device of a card."""

    device: str
    """ALSA name that stays the same across boots."""

    description: str
    """What the driver calls it."""


def capture_cards(root: Path = PROC_ASOUND) -> list[CaptureCard]:
    """Capture devices, in the kernel's order; empty where there is no sound card.

    Parameters
    ----------
    root : Path
        Where the kernel lists them.
    """
    try:
        lines = (root / "cards").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        match = _CARD.match(line)
        if match is None:
            continue
        number, name, description = match.groups()
        for pcm in sorted((root / f"card{number}").glob("pcm*c")):
            device = re.fullmatch(r"pcm(\d+)c", pcm.name)
            if device is not None:
                found.append(
                    CaptureCard(f"hw:CARD={name},DEV={device[1]}", " ".join(description.split()))
                )
    return found
