"""The file: rebuilt when it must be, whole after a crash, owned by one process, copied for others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from events import CATALOGUE
from projections.database import Database, StoreDamaged, StoreLocked
from projections.projection import FOLDER, read_all
from projections.replay import compare, replay
from projections.rows import moment
from projections.store import Store
from tests.controls import START_NS, STREAM, Story, execution_id, in_batches, life

ROOT = Path(__file__).parents[2]


def changed_folder(folder: Path, name: str, text: str = "-- changed\n") -> Path:
    """A copy of the projections in which one file is different."""
    folder.mkdir()
    for path in FOLDER.glob("*.sql"):
        (folder / path.name).write_text(text * (path.stem == name) + path.read_text())
    return folder


# -- rebuilding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["tasks", "executions", "attempts", "criteria", "test_results", "decisions", "quarantine"]
)
def test_a_changed_projection_is_folded_anew_from_the_events(tmp_path: Path, name: str) -> None:
    file = tmp_path / "p.duckdb"
    with Store(file) as store:
        for batch in in_batches(life(), 7):
            store.apply(STREAM, batch)
        before, position = store.hashes(), store.position
    with Store(file, projections=read_all(changed_folder(tmp_path / "sql", name))) as store:
        assert len(store.notices) == 1
        assert name in store.notices[0]
        assert store.position == position
        assert store.hashes() == before
        assert store.query("select count(*) from executions").rows == [[1]]
    with Store(file, projections=read_all(tmp_path / "sql")) as store:
        assert store.notices == []


def test_opening_an_unchanged_file_folds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "p.duckdb"
    with Store(file) as store:
        store.apply(STREAM, life())
    monkeypatch.setattr("projections.tables.Tables.reload", None)
    with Store(file) as store:
        assert (store.notices, store.position.sequence) == ([], 30)


def test_a_changed_fold_gives_other_rows(tmp_path: Path) -> None:
    file = tmp_path / "p.duckdb"
    with Store(file) as store:
        store.apply(STREAM, life())
    folder = changed_folder(tmp_path / "sql", "")
    sql = folder / "quarantine.sql"
    sql.write_text(sql.read_text().replace("where standing <> 'ok'", "where event = 'TaskStarted'"))
    with Store(file, projections=read_all(folder)) as store:
        assert store.rows("select distinct event from quarantine") == [("TaskStarted",)]


def test_a_projection_that_is_gone_is_dropped_and_a_new_one_made(tmp_path: Path) -> None:
    file = tmp_path / "p.duckdb"
    folder = changed_folder(tmp_path / "sql", "")
    (folder / "mine.sql").write_text(
        "-- create --\ncreate table mine (n ubigint);\n-- fold --\ninsert into mine select seq from batch;\n"
    )
    with Store(file) as store:
        store.apply(STREAM, life())
    with Store(file, projections=read_all(folder)) as store:
        assert store.rows("select count(*) from mine") == [(len(life()),)]
    with Store(file) as store:
        assert "mine" not in store.tables
        with pytest.raises(duckdb.CatalogException):
            store.rows("from mine")


def test_a_change_of_the_events_means_the_log_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "p.duckdb"
    with Store(file) as store:
        store.apply(STREAM, life())
    with Store(file, projections=read_all(changed_folder(tmp_path / "sql", "events"))) as store:
        assert store.position.sequence == 0
        assert "what is kept of an event has changed" in store.notices[0]
        store.apply(STREAM, life())
    monkeypatch.delitem(CATALOGUE, "TaskHeld")  # a catalogue of another version
    with Store(file) as store:
        assert store.position.sequence == 0


def test_h20_another_log_is_noticed_and_everything_made_anew() -> None:
    records = life()
    with replay(records, stream_created=STREAM) as store:
        assert store.check(STREAM, records[-1].id)
        assert store.notices == []
        for created, id in (("2031-01-01", records[-1].id), (STREAM, "another"), (STREAM, None)):
            assert not store.check(created, id)
            assert store.position.sequence == 0
            assert "made anew" in store.notices[-1]
            assert store.rows("select count(*) from tasks") == [(0,)]
            store.apply(STREAM, records)
        assert store.check(STREAM, records[-1].id)


# -- crashes and locks --------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from projections.store import Store
from tests.controls import STREAM, Story, execution_id, in_batches, life
story = Story()
for i in range(60):
    life(story.another("acme", execution_id(i + 1)))
store = Store(Path(sys.argv[1]))
rest = [r for r in story.records if r.sequence > store.position.sequence]
print("ready", flush=True)
for batch in in_batches(rest, 13):
    store.apply(STREAM, batch)
    print(store.position.sequence, flush=True)
"""


def child(file: Path) -> subprocess.Popen[str]:
    """A process that applies a long story in small batches."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()
    return process


def test_after_kill_9_position_and_rows_agree(tmp_path: Path) -> None:
    file = tmp_path / "p.duckdb"
    story = Story()
    for i in range(60):
        life(story.another("acme", execution_id(i + 1)))
    for round in range(3):
        process = child(file)
        assert process.stdout is not None
        acknowledged = 0
        for _ in range(3 + 2 * round):
            acknowledged = int(process.stdout.readline() or acknowledged)
        time.sleep(0.01 * round)  # somewhere inside the next transaction
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with Store(file) as store:
            reached = store.position.sequence
            assert reached >= acknowledged > 0
            assert store.rows("select max(seq), count(*) from events") == [(reached, reached)]
            with replay(story.records, until_seq=reached, stream_created=STREAM) as copy:
                assert compare(store, copy) == []


def test_a_second_process_is_told_who_owns_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.duckdb"
    process = child(file)
    try:
        with pytest.raises(StoreLocked, match=rf"in use by process {process.pid} .*Only one process can own"):
            Store(file)
    finally:
        process.kill()
        process.communicate()
    Store(file).close()


def test_a_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "p.duckdb"), pytest.raises(StoreLocked, match="in this process already"):
        Store(tmp_path / "p.duckdb")
    Store(tmp_path / "p.duckdb").close()


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "p.duckdb").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreDamaged, match="move it away and it is made anew"):
        Store(tmp_path / "p.duckdb")


# -- copies and comparison ----------------------------------------------------------------------------------------


def test_a_snapshot_is_whole_and_opens_in_another_process(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy.duckdb"
    with Store(tmp_path / "p.duckdb") as store:
        store.apply(STREAM, life())
        store.snapshot(copy)
        store.snapshot(copy)
        out = subprocess.run(
            [sys.executable, "-c",
             "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True);"
             "print(c.execute('select count(*) from events').fetchall(), c.execute('from runs').fetchall()[0][2])",
             str(copy)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert out.stdout == f"[({len(life())},)] failed\n"
        assert sorted(p.name for p in copy.parent.iterdir()) == ["copy.duckdb"]
        assert [p.name for p in (tmp_path / "p.duckdb.staging").iterdir()] == []
        before = store.hashes()
    with Store(copy) as again:
        assert again.hashes() == before


def test_a_store_in_memory_can_be_copied_too(tmp_path: Path) -> None:
    with replay(life()) as store:
        store.snapshot(tmp_path / "copy.duckdb")
    with Database(tmp_path / "copy.duckdb", read_only=True) as copy:
        assert copy.cursor().execute("select count(*) from events").fetchall() == [(len(life()),)]


def test_replay_equals_live_at_every_position() -> None:
    records = life()
    with Store() as live:
        for record in records:
            live.apply(STREAM, [record])
            if record.sequence % 6 == 0 or record is records[-1]:
                with replay(records, until_seq=record.sequence, stream_created=STREAM) as copy:
                    assert compare(live, copy) == []


def test_time_travel_to_a_moment_includes_it() -> None:
    records = life()
    at = moment(START_NS + 7 * 1_000_000_000)
    with replay(records, until_time=at) as store:
        assert store.position.sequence == 7
        assert store.rows("select state from tasks where task = '1'") == [("faulted",)]
    with replay(records, until_time=at.replace(microsecond=0), until_seq=6) as store:
        assert store.rows("select state from tasks where task = '1'") == [("running",)]


def test_a_difference_is_named() -> None:
    with replay(life()) as live, replay(life()) as other:
        live._writer.execute("update tasks set state = 'verified' where task = '3'")
        (difference,) = compare(live, other)
        assert difference.startswith("tasks: 1 rows only live, such as {")
        assert '"state":"failed"' in difference
    with replay(life()[:5]) as shorter, replay(life()) as other:
        assert "position: 5 live, 30 replayed" in compare(shorter, other)
