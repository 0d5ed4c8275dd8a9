"""What a plan grants reaches its tasks; what is missing is said; what was opened gets into no words of the engine."""

from __future__ import annotations

import logging
from io import StringIO
from pathlib import Path

import pytest

from schemas.values import Criterion, Grant, Plan, Task
from services.secrets.grants import SecretFound, SecretProblem, Secrets
from services.secrets.logs import protect
from services.shell import Context
from tests.spec import NO_LOG

VALUE = "s3cr3t-value-111"
TOKEN = Grant(name="TOKEN", env="TOKEN")


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    found = Secrets(tmp_path)
    found.vault.set("default", "TOKEN", VALUE)
    found.vault.set("default", "OTHER", "another-secret-222")
    found.vault.set("acme", "TOKEN", "of-somebody-else-333")
    return found


def plan(*tasks: Task, secrets: tuple[Grant, ...] = ()) -> Plan:
    return Plan(id="0192f0c1-0000-7000-8000-000000000001", title="P", tasks=tasks, secrets=secrets)


async def test_a_task_sees_what_it_and_its_plan_are_granted(secrets: Secrets) -> None:
    check = Criterion(id="c1", kind="command", command="true", secrets=(Grant(name="OTHER", env="CHECKED"),))
    one = Task(id="1", run="true", secrets=(Grant(name="OTHER", env="MINE"),), verify=(check,))
    two = Task(id="2", run="true")
    granting = plan(one, two, secrets=(TOKEN,))
    opened = await secrets.open("default", granting)
    assert opened.for_task(granting, one) == {"TOKEN": VALUE, "MINE": "another-secret-222"}
    assert opened.for_task(granting, two) == {"TOKEN": VALUE}
    assert opened.environment(check.secrets) == {"CHECKED": "another-secret-222"}
    assert (await secrets.open("acme", granting)).values == {"TOKEN": "of-somebody-else-333"}


async def test_whatever_any_task_may_see_is_taken_out_of_all(secrets: Secrets) -> None:
    opened = await secrets.open("default", plan(Task(id="1", run="true", secrets=(TOKEN,)), Task(id="2", run="true")))
    assert opened.redactor.text(f"{VALUE} another-secret-222") == "[secret TOKEN] another-secret-222"


async def test_a_plan_without_secrets_opens_nothing(secrets: Secrets) -> None:
    (secrets.vault.folder / "key").write_text("nonsense")
    opened = await secrets.open("default", plan(Task(id="1", run="true")))
    assert not opened.redactor
    assert opened.values == {}


async def test_what_is_missing_is_said_with_its_remedy(secrets: Secrets) -> None:
    check = Criterion(id="c1", kind="command", command="true", secrets=(Grant(name="NOT_THERE", env="X"),))
    for task in (
        Task(id="1", run="true", secrets=(Grant(name="NOT_THERE", env="X"),)),
        Task(id="1", run="true", verify=(check,)),
    ):
        asking = plan(task)
        opened = await secrets.open("default", asking)
        with pytest.raises(SecretProblem, match=r"NOT_THERE.*nightshift secret set NOT_THERE"):
            opened.for_task(asking, task)


async def test_a_vault_that_cannot_be_opened_is_said_too(secrets: Secrets) -> None:
    (secrets.vault.folder / "key").unlink()
    with pytest.raises(SecretProblem, match="is gone"):
        await secrets.open("default", plan(Task(id="1", run="true", secrets=(TOKEN,))))


async def test_a_result_is_looked_through(secrets: Secrets, tmp_path: Path) -> None:
    opened = await secrets.open("default", plan(Task(id="1", run="true", secrets=(TOKEN,))))
    file = tmp_path / "a.txt"
    file.write_bytes(b"line\n" * 500_000 + VALUE.encode().hex().encode())
    with pytest.raises(SecretFound, match=r"TOKEN in sub/a\.txt:500001$"):
        opened.look("sub/a.txt", file)
    file.write_bytes(b"x" * ((1 << 20) - 5) + VALUE.encode())
    with pytest.raises(SecretFound, match=r"TOKEN in a\.txt:1$"):
        opened.look("a.txt", file)
    file.write_bytes(b"nothing")
    opened.look("a.txt", file)
    with pytest.raises(SecretFound, match=r"in the name of a file: x-\[secret TOKEN\]$"):
        opened.look(f"x-{VALUE}", file)
    link = tmp_path / "link"
    link.symlink_to(VALUE)
    with pytest.raises(SecretFound, match=r"TOKEN in link:1$"):
        opened.look("link", link)


async def test_the_engine_says_nothing_that_it_has_opened_not_even_what_was_replaced(secrets: Secrets) -> None:
    asking = plan(Task(id="1", run="true", secrets=(TOKEN,)))
    out = StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    before = [(each, each.formatter) for each in root.handlers]
    root.addHandler(handler)
    try:
        protect(secrets.clean)
        protect(secrets.clean)
        await secrets.open("default", asking)
        secrets.vault.set("default", "TOKEN", "a-newer-value-444")
        await secrets.open("default", asking)
        try:
            raise ValueError(f"bad token {VALUE}")
        except ValueError:
            logging.getLogger("nightshift.test").exception("with %s and %s", "a-newer-value-444", VALUE)
    finally:
        root.removeHandler(handler)
        for each, formatter in before:
            each.setFormatter(formatter)
    assert out.getvalue().startswith("ERROR with [secret TOKEN] and [secret TOKEN]\nTraceback")
    assert "ValueError: bad token [secret TOKEN]" in out.getvalue()
    assert VALUE not in out.getvalue()


async def test_reasons_and_dead_letters_go_without_what_was_opened(secrets: Secrets) -> None:
    await secrets.open("default", plan(Task(id="1", run="true", secrets=(TOKEN,))))
    context = Context("executor", "executor-1", NO_LOG, NO_LOG, secrets)
    assert context.clean(f"ValueError: {VALUE}") == "ValueError: [secret TOKEN]"
    assert Context("planner", "planner-1", NO_LOG, NO_LOG).clean("as it is") == "as it is"
