"""What an operator set and a restart must not forget: mute, sensitivities, disabled keywords."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kwsd.config_schema import SENSITIVITIES
from kwsd.control_protocol import CONFIGURED

log = logging.getLogger(__name__)

FILE_NAME = "state.json"


@dataclass
class SavedState:
    """Settings made through the control socket; they win over the configuration."""

    muted: bool = False
    sensitivities: dict[str, str] = field(default_factory=dict)
    disabled: list[str] = field(default_factory=list)
    damaged: bool = False
    """Muted because the file could not be read; not saved."""

    def remarks(self, keywords: Collection[str]) -> list[str]:
        """What of it counts for these keywords, for people, each with how it is undone."""
        cause = "since the file of settings was damaged" if self.damaged else "by kwsctl mute"
        said = f"the microphone is muted {cause}; kwsctl unmute undoes it"
        return [
            *([said] if self.muted else []),
            *(
                f"{name} is disabled by kwsctl disable; kwsctl enable {name} undoes it"
                for name in keywords
                if name in self.disabled
            ),
            *(
                f"{name} has sensitivity {self.sensitivities[name]} by kwsctl set; "
                f"kwsctl set {name} {CONFIGURED} undoes it"
                for name in keywords
                if name in self.sensitivities
            ),
        ]


def state_directory(environment: Mapping[str, str] | None = None) -> Path:
    """systemd's ``STATE_DIRECTORY``, else the user's state folder."""
    environment = os.environ if environment is None else environment
    given = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = environment.get("XDG_STATE_HOME") or str(
        Path(environment.get("HOME", "/")) / ".local/state"
    )
    return Path(home) / "kwsd"


class StateFile:
    """The state on disk; a disk that cannot be written costs the memory, never the service.

    Parameters
    ----------
    path : Path
        JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> SavedState:
        """The last state; what of it cannot be read counts as none and is said aloud.

        A file that is there and cannot be read at all may have said that the microphone is muted.
        """
        try:
            data = json.loads(self._path.read_text())
            if not isinstance(data, dict):
                raise ValueError("must be a JSON object")
        except FileNotFoundError:
            return SavedState()
        except (OSError, ValueError, RecursionError) as error:
            log.warning(
                "%s cannot be read (%s): the microphone stays muted until kwsctl unmute",
                self._path,
                error,
            )
            return SavedState(muted=True, damaged=True)
        # Whatever else is wrong here, and whatever stands for true: what was closed stays closed.
        state = SavedState(muted=bool(data.get("muted")))
        for name, kind, allowed in (
            ("sensitivities", dict, "an object"),
            ("disabled", list, "a list"),
        ):
            value = data.get(name, kind())
            if isinstance(value, kind):
                setattr(state, name, value)
            else:
                log.warning(
                    "%s: %s = %.40s: must be %s; starting without it",
                    *(self._path, name, value, allowed),
                )
        state.disabled = [str(name) for name in state.disabled]
        for keyword, value in list(state.sensitivities.items()):
            if value not in SENSITIVITIES:
                log.warning(
                    "%s: sensitivity %r of %s is not known: the configured one counts",
                    *(self._path, str(value)[:40], keyword),
                )
                del state.sensitivities[keyword]
        return state

    def save(self, state: SavedState) -> bool:
        """Replace the file; False where that failed."""
        partial = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with partial.open("w") as stream:
                kept = asdict(state)
                del kept["damaged"]
                json.dump(kept, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(self._path)
            with suppress(OSError):
                _sync_folder(self._path.parent)
        except OSError as error:
            log.warning(
                "%s cannot be written (%s): settings will not survive a restart",
                self._path,
                error.strerror or error,
            )
            return False
        return True


def _sync_folder(folder: Path) -> None:
    """Else a power cut may bring back the file that was replaced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
