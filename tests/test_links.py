"""Every link of the documentation leads to a file that is there, and to a heading of its."""

import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "findings/*.md", "cassettes/*.md")
    for page in ROOT.glob(pattern)
)
OUTSIDE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
MARKDOWN = MarkdownIt("commonmark").enable("table")


def slug(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    """Return the anchors of a page: one of each heading, counted up where a heading repeats."""
    found = []
    tokens = MARKDOWN.parse(page.read_text(encoding="utf-8"))
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            parts = [part.content for part in inline.children if part.type != "link_open"]
            first = slug("".join(parts))
            again = re.compile(rf"{re.escape(first)}(-\d+)?")
            count = sum(again.fullmatch(name) is not None for name in found)
            found.append(f"{first}-{count}" if count else first)
    return found


def links(page):
    """Return where the links and pictures of a page point to."""
    text = page.read_text(encoding="utf-8")
    inner = [part for token in MARKDOWN.parse(text) for part in token.children or ()]
    found = [part.attrs["href"] for part in inner if part.type == "link_open"]
    found += [part.attrs["src"] for part in inner if part.type == "image"]
    return found + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)


def dangling(page):
    """Return the links of a page that lead nowhere in the repository."""
    found = []
    for link in links(page):
        if OUTSIDE.match(link) or link.startswith("//"):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            found.append(f"{link}: there is no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            found.append(f"{link}: there is no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_the_page_lead_somewhere(page):
    assert dangling(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A `word`, twice\n# A word twice\n[a](#a-word-twice-1) [b](gone.md) [c](#nowhere)\n"
    )
    assert dangling(page) == [
        "gone.md: there is no such file",
        "#nowhere: there is no such heading",
    ]
