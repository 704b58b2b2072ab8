"""The pages of docs/ name everything that is public, and every page can be reached."""

import re
from collections import Counter
from pathlib import Path

import pytest

import skipwise
import skipwise.gating

_DOCS = Path(__file__).parents[1] / "docs"

pytestmark = pytest.mark.skipif(not _DOCS.is_dir(), reason="a source distribution has no docs")


def _documented() -> Counter[str]:
    pages = (_DOCS / "reference").glob("*.md")
    directive = re.compile(r"^\.\. auto(?:class|function|data|exception):: ([\w.]+)", re.MULTILINE)
    return Counter(name for page in pages for name in directive.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", skipwise.__all__)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    assert _documented()[f"skipwise.{name}"] == 1


@pytest.mark.parametrize("name", skipwise.gating.__all__)
def test_a_type_of_the_gating_core_is_in_the_reference(name: str) -> None:
    documented = _documented()
    assert documented[f"skipwise.{name}"] + documented[f"skipwise.gating.{name}"] == 1


def test_every_page_is_in_a_table_of_contents() -> None:
    trees = {path: path.read_text(encoding="utf-8") for path in _DOCS.rglob("index.md")}
    listed = {
        (path.parent / entry).relative_to(_DOCS).as_posix()
        for path, text in trees.items()
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
        for entry in tree.splitlines()
        if entry and not entry.startswith(":")
    }
    pages = {
        page.relative_to(_DOCS).with_suffix("").as_posix()
        for pattern in ("*.md", "reference/*.md", "notebooks/*.ipynb")
        for page in _DOCS.glob(pattern)
    }
    assert len(pages) > 20
    assert listed | {"index"} == pages | {"reference/command_line"}  # that one is made by the build
