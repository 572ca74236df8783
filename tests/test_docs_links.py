"""Links in README and docs lead somewhere: to a file that is there, to a heading that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page
    for place in ("*.md", "docs/**/*.md", "examples/*.md", "models/*/*.md", "samples/*.md")
    for page in ROOT.glob(place)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, by the rules of the sites that show Markdown."""
    text = CODE.sub("", page.read_text())
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", re.sub(LINK, "]", title).lower())
        found.add(kept.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            lost.append(link)
    assert not lost


def test_there_are_pages_with_links() -> None:
    assert len(PAGES) > 10
    assert sum(len(LINK.findall(page.read_text())) for page in PAGES) > 100
