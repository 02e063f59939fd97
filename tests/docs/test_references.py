"""What the documentation points at is there: pages, headings, pictures, source files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ce2p import __version__
from tests.docs.documents import DOCUMENTS, ROOT, inline_code, name_of, prose

MOST_WORDS = 1200
MOST_BYTES = 2_000_000
_SOURCE = re.compile(r"[\w./-]+\.(?:py|cu|h|c|yaml|toml|sh)")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Every file of the repository, new ones too, as "/" and its path."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is a copy without git, which knows what belongs to the repository")
    return [f"/{line}" for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def headings(document: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue  # other people's pages are not ours to test
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        assert page.exists(), f"{name_of(document)} links to {target}"
        if anchor:
            assert anchor in headings(page), f"{name_of(document)} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_source_files_named_in_the_text_exist(document: Path, tracked: list[str]) -> None:
    """By path, or by the end of one: `proof.py`, `cuda/pipeline.py`."""
    for span in inline_code(document):
        if _SOURCE.fullmatch(span) and "config.yaml" not in span:  # a run's, which no repository holds
            assert any(path.endswith(f"/{span}") for path in tracked), f"{name_of(document)} names {span}"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r'= "([\w/.-]+\.md)"', (ROOT / "zensical.toml").read_text())
    pages = [str(page.relative_to(ROOT / "docs")) for page in DOCUMENTS if ROOT / "docs" in page.parents]
    assert sorted(listed) == sorted([*pages, "reference/commands.md"])


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


@pytest.mark.parametrize("picture", sorted((ROOT / "docs/assets").glob("*.webp")), ids=lambda path: path.name)
def test_pictures_are_small(picture: Path) -> None:
    assert picture.stat().st_size < MOST_BYTES
