"""`docs/configuration.md` is what its generator writes of the schema."""

from __future__ import annotations

import runpy
from pathlib import Path

from kwsd.config_schema import KEYS, keyword_keys

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_page_is_what_the_generator_writes() -> None:
    made: str = runpy.run_path(str(DOCS / "make_configuration.py"))["page"]()
    assert (DOCS / "configuration.md").read_text() == made, "python docs/make_configuration.py"


def test_every_key_has_a_row() -> None:
    text = (DOCS / "configuration.md").read_text()
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert {*KEYS, *keyword_keys("NAME")} <= rows
