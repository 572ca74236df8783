"""Probe: device, library and graph looked at from outside; nothing is opened, nothing is loaded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kwsd.runtime.aipu.binding import NEW_API_SYMBOL, OLD_API_SYMBOL, SYMBOLS
from kwsd.runtime.aipu.elf import NotElf, machine_of, read_shared_object
from kwsd.runtime.failure import RuntimeFailure

DEVICE = Path("/dev/aipu")
LIBRARY_NAME = "libaipudrv.so"
LIBRARY_FOLDERS = (
    Path("/usr/local/lib"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/usr/lib"),
    Path("/lib"),
)


def check_device(device: Path) -> None:
    """The node is there and may be read and written.

    Raises
    ------
    RuntimeFailure
        ``no-device`` or ``no-permission``.
    """
    try:
        mode = device.stat().st_mode
    except PermissionError:
        raise RuntimeFailure(
            "no-permission", f"the folder of {device} cannot be entered: check DeviceAllow"
        ) from None
    except OSError:
        raise RuntimeFailure(
            "no-device", f"{device} is not there: load the kernel module aipu, or stay on the CPU"
        ) from None
    if not stat.S_ISCHR(mode):
        raise RuntimeFailure("no-device", f"{device} is no character device")
    if not os.access(device, os.R_OK | os.W_OK, effective_ids=True):
        raise RuntimeFailure(
            "no-permission",
            f"{device} cannot be read and written by user {os.geteuid()}: add it to the group of "
            "the node and allow the node in the service",
        )


def find_library(configured: Path | None, folders: tuple[Path, ...] = LIBRARY_FOLDERS) -> Path:
    """The configured library, else ``libaipudrv.so``, else its newest numbered file.

    Raises
    ------
    RuntimeFailure
        ``no-library``, or ``no-permission`` where this user may not look.
    """
    try:
        return _find_library(configured, folders)
    except OSError as error:
        raise RuntimeFailure(
            "no-permission",
            f"{error.filename or configured} cannot be read by user {os.geteuid()}: put the "
            "library where the service may read it, such as /usr/lib",
        ) from None


def _find_library(configured: Path | None, folders: tuple[Path, ...]) -> Path:
    if configured is not None:
        if configured.is_file():
            return configured
        raise RuntimeFailure("no-library", f"{configured} is not there: check the configured path")
    for folder in folders:
        if (folder / LIBRARY_NAME).is_file():
            return folder / LIBRARY_NAME
    numbered = [path for folder in folders for path in folder.glob(LIBRARY_NAME + ".*")]
    if numbered:
        return max(numbered, key=_numbers)
    raise RuntimeFailure(
        "no-library",
        f"{LIBRARY_NAME} is in none of {', '.join(map(str, folders))}: install a Compass NPU "
        "driver or name the library",
    )


def check_library(library: Path) -> None:
    """It is for this machine and has the standard API.

    Raises
    ------
    RuntimeFailure
        ``no-library``, ``other-machine``, ``old-api`` or ``missing-symbol``.
    """
    try:
        found = read_shared_object(library)
    except NotElf as error:
        raise RuntimeFailure("no-library", f"{library}: {error}") from None
    except OSError as error:
        raise RuntimeFailure("no-library", f"{library}: {error.strerror}") from None
    here = machine_of(Path("/proc/self/exe"))
    if found.machine != here:
        raise RuntimeFailure(
            "other-machine",
            f"{library} is for ELF machine {found.machine}, this one is {here}: install the build "
            "for this board",
        )
    if found.symbols is None:
        return
    if NEW_API_SYMBOL not in found.symbols and OLD_API_SYMBOL in found.symbols:
        raise RuntimeFailure(
            "old-api",
            f"{library} has the 2020 API (AIPU_ names); install a Compass NPU driver",
        )
    missing = sorted(set(SYMBOLS) - found.symbols)
    if missing:
        raise RuntimeFailure(
            "missing-symbol",
            f"{library} lacks {', '.join(missing)}: it is no Compass NPU driver of release 5 or 6",
        )


def _numbers(path: Path) -> tuple[int, ...]:
    parts = path.name.removeprefix(LIBRARY_NAME).split(".")
    return tuple(int(part) for part in parts if part.isdigit())
