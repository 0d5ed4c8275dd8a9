"""What a task really did, read from git and held against the rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.safety.model import SafetyModel, chosen
from schemas.safety.profiles import DEFAULT, OVERNIGHT
from schemas.safety.rules import Concern, Safety
from schemas.values import Criterion, Policy, Task
from services.safety.difference import changed_lines, check_difference
from services.workspace import FileChange, Repository, read_difference
from services.workspace.difference import MAX_TEXT
from tests.controls import plan, task
from tests.safety.tricks import git

SOURCE = "".join(f"line {number}\n" for number in range(40))


def begin(folder: Path) -> None:
    (folder / "src").mkdir(parents=True)
    (folder / "src/a.py").write_text(SOURCE)
    (folder / "src/b.py").write_text("b\n")
    (folder / "README.md").write_text("# A\n")
    git(folder, "init", "-q")
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "-m", "begin")


async def differ(folder: Path, work: Callable[[Path], object]) -> list[FileChange]:
    """What differs after some work in a repository."""
    begin(folder)
    work(folder)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "done")
    repository = Repository.open(folder.parent / "repos", name="engine", durable=False)
    after = await repository.fetch(str(folder))
    return await read_difference(repository, git(folder, "rev-parse", "HEAD~1").strip(), after)


def found(changes: list[FileChange], safety: Safety = OVERNIGHT, what: Task | None = None, **more: Any) -> set[str]:
    what = what or task("1")
    answer = check_difference(plan(what, policy=Policy(safety=safety)), what, changes, **more)
    return {violation.operation + ("!" if violation.blocked else "") for violation in answer.violations}


def sh(command: str) -> Callable[[Path], object]:
    return lambda folder: subprocess.run(["/bin/sh", "-ec", command], cwd=folder, check=True)


def submodule(folder: Path) -> None:
    begin(folder / "src/sub")


WORK: list[tuple[str, Callable[[Path], object], set[str], set[str]]] = [
    ("small", sh("echo more >> src/a.py; echo y > docs.md"), set(), {"outside"}),
    ("documents", sh("mkdir docs tests; seq 100 > docs/a.md; seq 90 >> README.md; seq 80 > tests/t.py"), set(), set()),
    ("many lines", sh("seq 31 > src/new.py"), set(), {"size"}),
    ("as many as allowed", sh("seq 30 > src/new.py"), set(), set()),
    ("delete", sh("rm src/b.py"), set(), {"delete"}),
    ("move", sh("mv src/a.py src/moved.py"), set(), set()),
    ("move out", sh("mkdir lib; mv src/a.py lib/a.py"), set(), {"outside"}),
    ("rewrite", sh("seq 500 540 > src/a.py"), set(), {"size"}),
    ("mode", sh("chmod +x src/b.py"), set(), {"modes"}),
    ("link", sh("ln -s a.py src/l.py"), set(), {"links"}),
    ("link to above", sh("ln -s ../../x src/l"), {"escape!"}, {"escape!"}),
    ("link to the root", sh("ln -s /etc/passwd src/l"), {"escape!"}, {"escape!"}),
    ("link for a file", sh("rm src/b.py; ln -s /etc/passwd src/b.py"), {"escape!"}, {"escape!"}),
    ("binary", sh("printf 'a\\0b' > src/x.bin"), set(), {"binary"}),
    ("too large", lambda f: (f / "src/x.txt").write_bytes(b"a" * (MAX_TEXT + 1)), set(), {"binary"}),
    ("submodule", submodule, {"git"}, {"git!"}),
    ("attributes", sh("echo '* filter=evil' > .gitattributes"), {"git"}, {"git!", "outside"}),
    ("modules", sh("printf '[submodule \"x\"]\\n' > .gitmodules"), {"git"}, {"git!", "outside"}),
    ("ignore", sh("echo x > .gitignore"), set(), {"ignore!", "outside"}),
    ("environment", sh("echo KEY=1 > .env"), {"secrets!"}, {"secrets!", "outside"}),
    ("key", sh("printf -- '-----BEGIN RSA PRIVATE KEY-----\\n' > src/k.txt"), {"secrets!"}, {"secrets!"}),
    ("sample", sh("echo KEY= > src/.env.example"), set(), set()),
    ("dependency", sh("echo rich > requirements.txt"), set(), {"dependencies", "outside"}),
    ("build server", sh("mkdir -p .github/workflows; echo a > .github/workflows/a.yml"), set(), {"ci!", "outside"}),
    ("production", sh("echo a > src/docker-compose.yml"), set(), {"production!"}),
    ("migration", sh("mkdir src/migrations; echo a > src/migrations/1.py"), set(), {"migrations"}),
    ("drop table", sh("echo 'drop  TABLE users;' >> src/a.py"), set(), {"database"}),
    ("delete rows", sh("echo 'x = \"DELETE FROM users\"' >> src/b.py"), set(), {"database"}),
    ("a file of that name", sh("echo a > 'src/DROP TABLE.py'"), set(), set()),
    ("odd names", sh("echo a > 'src/ü \"q\".py'; printf a > \"src/$(printf 'new\\nline')\""), set(), set()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "work", "by_default", "at_night"), WORK, ids=[name for name, *_ in WORK])
async def test_what_was_done(
    name: str, work: Callable[[Path], object], by_default: set[str], at_night: set[str], tmp_path: Path
) -> None:
    changes = await differ(tmp_path / "project", work)
    assert found(changes, DEFAULT) == by_default
    assert found(changes) == at_night


async def test_attributes_in_the_tree_hide_nothing(tmp_path: Path) -> None:
    """Git would count no lines of a file that it is told is binary."""
    changes = await differ(tmp_path / "project", sh("echo '* binary' > .gitattributes; seq 31 > src/new.py"))
    assert changed_lines(changes) == 32
    new = next(change for change in changes if change.path == "src/new.py")
    assert not new.unreadable
    assert new.added_lines()[-1] == "31"


async def test_a_rename_is_told_with_both_names_and_a_moved_line_is_not_new(tmp_path: Path) -> None:
    changes = await differ(
        tmp_path / "project", sh("mv src/a.py src/c.py; sed -i '1d' src/c.py; echo 'line 0' >> src/c.py")
    )
    [change] = changes
    assert (change.status, change.old, change.path, change.paths) == (
        "R",
        "src/a.py",
        "src/c.py",
        ("src/a.py", "src/c.py"),
    )
    assert change.existing == ("src/a.py",)
    assert change.added_lines() == []
    assert (change.added, change.removed) == (1, 1)


async def test_texts_are_read_from_packs_as_well(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        (folder / "src/new.py").write_text("x\n" * 31)
        (folder / "src/big.txt").write_bytes(b"a" * (MAX_TEXT + 1))

    changes = await differ(tmp_path / "project", work)
    git(tmp_path, "--git-dir", str(tmp_path / "repos/engine.git"), "repack", "-qa")
    for loose in (tmp_path / "repos/engine.git/objects").glob("??"):
        shutil.rmtree(loose)
    repository = Repository.open(tmp_path / "repos", name="engine", durable=False)
    before, after = git(tmp_path / "project", "rev-parse", "HEAD~1", "HEAD").split()
    assert await read_difference(repository, before, after) == changes
    assert [c.unreadable for c in changes] == [True, False]


async def test_nothing_changed_is_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "project")
    repository = Repository.open(tmp_path / "repos", name="engine", durable=False)
    head = await repository.fetch(str(tmp_path / "project"))
    assert await read_difference(repository, head, head) == []
    assert found([]) == set()


def added(path: str, text: str = "x\n", **more: Any) -> FileChange:
    return FileChange(path=path, status="A", new_mode="100644", added=text.count("\n"), after=text, **more)


def test_every_list_of_paths_must_allow_it() -> None:
    safety = replace(DEFAULT, allowed_paths=(("src/",), ("*.py",)), forbidden_paths=("/src/secret/",))
    assert found([added("src/a.py")], safety) == set()
    assert found([added("src/a.txt")], safety) == {"outside"}
    assert found([added("a.py")], safety) == {"outside"}
    assert found([added("src/secret/a.py")], safety) == {"forbidden!"}


def test_forbidden_content_is_named_by_its_place_and_never_shown() -> None:
    safety = chosen(SafetyModel(forbidden_content=["AKIA[0-9A-Z]{4}"]), DEFAULT)
    one = task("1")
    changes = [added("a.py", "x\nkey = 'AKIA1234'\n")]
    answer = check_difference(plan(one, policy=Policy(safety=safety)), one, changes)
    assert [v.violation for v in answer.violations] == ["a.py:2 has what AKIA[0-9A-Z]{4} forbids"]


def test_a_yes_before_the_start_covers_that_operation_and_no_other() -> None:
    asked = task("1", concerns=(Concern(operation="dependencies", violation="it is told to"),))
    changes = [added("src/requirements.txt"), added("src/migrations/1.py")]
    assert found(changes, what=asked) == {"dependencies", "migrations"}
    assert found(changes, what=asked, approved=True) == {"migrations"}
    never = task("1", concerns=(Concern(operation="ci", violation="x"),))
    assert found([added(".github/workflows/a.yml")], what=never, approved=True) == {"ci!", "outside"}


def test_a_task_without_a_check_has_to_write_a_test() -> None:
    manual = task("1", verify=(Criterion(id="m", kind="manual"),))
    assert found([added("src/a.py")], what=manual) == {"tests"}
    assert found([added("src/a.py"), added("tests/test_a.py")], what=manual) == set()
    assert found([added("src/a.py")], DEFAULT, what=manual) == set()
