"""What README and docs name: pages, files, tests. All of it is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = {"api", "cli", "changelog", "contributing"}
"""Pages below ``reference/`` that `docs/hooks/reference.py` makes."""
PLACES = (ROOT, ROOT / "platform", ROOT / "platform" / "tidemill")
TESTS = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path):
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    generated = {link for link in links if link.startswith("reference/")}
    assert generated <= {f"reference/{name}.md" for name in GENERATED}
    assert not generated or "`make docs`" in text, "say that these pages are made"
    assert [link for link in links if link not in generated and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_this_repository_is_there(page: Path):
    text = page.read_text()
    named = set(re.findall(r"(?<![\w./])((?:tests|platform|examples|benchmarks)/[\w./-]*\w)", text))
    named |= set(re.findall(r"`((?:serving|training|features|data|registry)/(?:\w+/)+\w+\.py)", text))
    named.discard("platform/__init__.py")  # which must never exist, as CONTRIBUTING.md says
    assert sorted(path for path in named if not any((place / path).exists() for place in PLACES)) == []


def test_every_test_that_stands_beside_feasts_is_there():
    page = (ROOT / "docs" / "offline-store.md").read_text()
    table = page.partition("## What Feast's own tests check")[2]
    ours = "\n".join(line.split("|")[2] for line in table.splitlines() if line.startswith("|"))
    files = set(re.findall(r"\b(test_\w+\.py)", ours))
    assert len(files) > 6
    assert files - TESTS.keys() == set()
    code = "\n".join(TESTS.values())
    assert [name for name in re.findall(r"::(test_\w+)", ours) if f"def {name}" not in code] == []
