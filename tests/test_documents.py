"""The documents say what the code says."""

from pathlib import Path

import pytest

from nightshift.documents import GENERATED, renewed

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", sorted(GENERATED))
def test_generated_sections_are_current(page: str) -> None:
    text = (ROOT / page).read_text()
    assert renewed(page, text) == text, "run: python -m nightshift.documents"
    assert len(renewed(page, text)) > 500


def test_every_command_is_in_the_readme_or_the_documents() -> None:
    from nightshift.__main__ import app

    pages = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
    readme = "".join(page.read_text() for page in pages)
    names = [c.name for c in app.registered_commands] + ["plan check", "plan convert", "plan graph"]
    missing = [name for name in names if name and f"`{name}`" not in readme and f"nightshift {name}" not in readme]
    assert not missing
