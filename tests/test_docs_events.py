"""`docs/events.md` names every event, topic and field of the schema, and nothing else."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from kwsd.sink.zmq import topic_of

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/events.md").read_text()
SCHEMA: dict[str, Any] = json.loads(
    files("kwsd").joinpath("schema/event.schema.json").read_text(encoding="utf-8")
)
EVENTS = {
    SCHEMA["$defs"][entry["$ref"].rpartition("/")[2]]["properties"]["type"]["const"]: SCHEMA[
        "$defs"
    ][entry["$ref"].rpartition("/")[2]]
    for entry in SCHEMA["oneOf"]
}
FIRST_WAKE = json.loads((ROOT / "samples/living_room.events.jsonl").read_text().splitlines()[0])


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def fields(part: dict[str, Any]) -> set[str]:
    """Names of an event's own fields, those of an object within it as ``outer.inner``."""
    found: set[str] = set()
    for name, inner in part["properties"].items():
        inner = resolved(inner)
        if name == "type":
            continue
        if "properties" in inner:
            found |= {f"{name}.{key}" for key in fields(inner)}
        else:
            found |= {name, *fields(inner.get("items", {"properties": {}}))}
    return found


def section(title: str) -> str:
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.M)
    return str(text)


def rows(text: str) -> set[str]:
    """What stands in backticks in the first column."""
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("kind", EVENTS)
def test_every_field_has_its_row(kind: str) -> None:
    expected = fields(EVENTS[kind])
    if kind == "sound":
        # Told in a sentence: it is a wake with one field more.
        assert expected == {"phase"}
        assert "`phase`" in section(kind)
        return
    if kind == "wake":
        expected |= fields(SCHEMA["$defs"]["heard"])
    assert rows(section(kind)) == expected


def test_what_every_event_has() -> None:
    assert rows(section("Every event")) == set(SCHEMA["properties"])


def test_topics() -> None:
    topics = {
        topic_of({"type": kind, "name": "KEYWORD"}): kind for kind in EVENTS if kind != "sound"
    }
    lines = [line for line in section("Topics").splitlines() if line.startswith("| `")]
    assert {line.split("`")[1]: line.split("`")[3] for line in lines} == topics


@pytest.mark.parametrize("page", ["README.md", "docs/events.md"])
def test_the_wake_shown_is_that_of_the_sample(page: str) -> None:
    shown = re.findall(r'^\{"v": 1, "type": "wake".*?\}\}$', (ROOT / page).read_text(), re.M | re.S)
    assert [json.loads(text) for text in shown] == [FIRST_WAKE]
