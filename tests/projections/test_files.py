"""The files of the projections: only names that exist, nothing that is not in the events."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from events import CATALOGUE
from projections.projection import FOLDER, BadProjection, lifecycle_rows, literals, read
from projections.store import Store


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda p: p.stem)
def test_every_event_named_in_sql_is_in_the_catalogue(path: Path) -> None:
    assert literals(path.read_text()) <= CATALOGUE.keys()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda p: p.stem)
def test_no_projection_reads_a_clock_or_draws_numbers(path: Path) -> None:
    code = re.sub(r"--.*", "", path.read_text())
    assert not re.search(r"\b(now|today|current_\w+|random|uuid\w*|get_current\w*|nextval)\s*\(", code)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.sql")), ids=lambda p: p.stem)
def test_every_field_that_sql_reads_is_a_field_of_some_fact(path: Path) -> None:
    known = {f.name for entry in CATALOGUE.values() for f in dataclasses.fields(entry.cls)}
    assert set(re.findall(r"data ->>? '\$\.(\w+)", path.read_text())) <= known


def test_every_transition_of_the_state_tables_is_in_the_database() -> None:
    with Store() as store:
        assert sorted(store.rows("from lifecycle")) == sorted(lifecycle_rows())


def test_a_file_without_sections_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_text("select 1")
    with pytest.raises(BadProjection, match="one create section"):
        read(tmp_path / "x.sql")


def test_the_hash_covers_the_sql(tmp_path: Path) -> None:
    text = (FOLDER / "criteria.sql").read_text()
    (tmp_path / "criteria.sql").write_text(text + "\n")
    assert read(tmp_path / "criteria.sql").hash != read(FOLDER / "criteria.sql").hash
