#!/usr/bin/env python3
"""Write `configuration.md` from the schema: every key, its default, what it takes and means.

    python docs/make_configuration.py

After each change of `kwsd/config_schema.py`; `tests/test_docs_configuration.py` says when it is
due.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kwsd.config_schema import (
    KEYWORD_SECTION,
    SECTIONS,
    Key,
    KeywordSettings,
    section_keys,
)
from kwsd.config_value import allowed, to_toml

PAGE = Path(__file__).with_name("configuration.md")

KEYWORD = "NAME"

HEAD = """\
# Configuration

Every key of kwsd. `python docs/make_configuration.py` writes this page from
[kwsd/config_schema.py](../kwsd/config_schema.py).

```sh
kwsd --print-config                        # every key: its value and where that comes from
kwsd --config FILE --print-config          # try a file before the service gets it
kwsd --replay samples/living_room.flac --set wake.sensitivity=high
```

## Layers

Each layer counts over the ones above it:

| layer | which |
| --- | --- |
| defaults | the tables below |
| board profile | that of `audio.profile` ([names](tune.md#choose-the-board)) |
| the system's file | `/etc/kwsd/kwsd.toml` |
| the user's file | `~/.config/kwsd/kwsd.toml`, or `kwsd/kwsd.toml` in `$XDG_CONFIG_HOME` |
| parts | `conf.d/*.toml` beside the system's file, by name; then those beside the user's |
| variables | `KWSD_SECTION_KEY`: `KWSD_WAKE_SENSITIVITY`, `KWSD_KEYWORD_COMPUTER_THRESHOLD` |
| flags | `--set section.key=value`; `--model` for `wake.models`; `--verbose` for `log.level` |

`--config FILE` takes the place of all files. The service's home is `/var/lib/kwsd`: it does not see
the files of people. A file that the user may not read is left out with a warning; to listen without
it is refused. A key that is not known, or a value that is not allowed, ends the start with exit
code 78.

What `kwsctl set`, `enable`, `disable` and `mute` say counts over all layers and stays over a
restart.

A running service takes a change by `systemctl reload kwsd` or `kwsctl reload`, one under `[bus]` or
`[metrics]` by a restart ([service](service.md#what-it-says-of-itself)). One that still waits for
its microphone takes it by `kwsctl reload` only: systemd waits for the start.

## Values

```toml
[audio]
profile = "respeaker-2mic"

[wake]
models = ["computer", "hey_lantern"]

[keyword.computer]              # this keyword alone
sensitivity = "low"
```

For a keyword counts what is set first of: what `kwsctl set` keeps, its threshold, its sensitivity,
the threshold and the sensitivity of `[wake]`. `"auto"` lets kwsd choose; the meaning says what. On
the command line and in variables a list may be `0,1` as well as `[0, 1]`, and a word needs no
quotes. Channels count from 0. What begins with `live:` is of no concern to a replay.
"""

TABLE = "| key | default | takes | meaning |\n| --- | --- | --- | --- |"


def page() -> str:
    """The whole text."""
    parts = [HEAD]
    for prefix, section in SECTIONS.items():
        parts.append(_section(f"[{prefix}]", section, section_keys(prefix, section).values()))
        if prefix == "wake":
            keys = section_keys(f"{KEYWORD_SECTION}.{KEYWORD}", KeywordSettings)
            parts.append(_section(f"[{KEYWORD_SECTION}.{KEYWORD}]", KeywordSettings, keys.values()))
    return "\n".join(parts)


def _section(title: str, section: type[object], keys: Iterable[Key]) -> str:
    text = " ".join((section.__doc__ or "").replace("``", "`").split())
    return "\n".join([f"## {title}", "", text, "", TABLE, *map(_row, keys), ""])


def _row(key: Key) -> str:
    default = f"`{to_toml(key.default)}`"
    if key.name.startswith(f"{KEYWORD_SECTION}."):
        default = "that of `[wake]`"
    cells = (f"`{key.name}`", default, allowed(key), key.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
