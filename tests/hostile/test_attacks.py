"""The table of docs/sandboxes.md, cell by cell: each attack at each level does exactly what the table says."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from schemas.grants import LEVELS, Level
from services.sandbox.cgroups import parents
from tests.hostile.attacks import ATTACKS, LIMITS, Attack, Victims
from tests.sandboxes import PYTHON, every_level, levels, linux_only, run, sandbox_of

PAGE = Path(__file__).resolve().parents[2] / "docs/sandboxes.md"
STOPPED, POSSIBLE = "stopped", "possible"
ROOTS = "change the kernel's settings"
LIMITED = ("fork bomb", "memory bomb")


def table() -> dict[str, dict[Level, str]]:
    """The rows of the page's table of attacks."""
    rows = re.findall(r"^\| ([^|]+) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    return {name.strip(): dict(zip(LEVELS, cells, strict=True)) for name, *cells in rows if name.strip() != "attack"}


@pytest.fixture
def victims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victims]:
    victims = Victims(tmp_path)
    victims.open()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield victims
    victims.close()


@linux_only
@every_level
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_an_attack_does_what_the_table_says(attack: Attack, level: Level, victims: Victims) -> None:
    if attack.name in LIMITED and level != "docker" and not {"memory", "pids"} <= parents().keys():
        pytest.skip("no control groups that can be made here")
    if attack.name == ROOTS and level == "process" and os.geteuid() != 0:
        pytest.skip("an ordinary user cannot do this in the first place")
    async with levels(victims.root / "state") as found:
        sandbox = await sandbox_of(found, level)
        env = {"PATH": os.defpath, **victims.names()}
        before = time.monotonic()
        ended, output = await run(
            sandbox, PYTHON, "-I", "-c", attack.script, cwd=victims.root / "files", env=env, limits=LIMITS
        )
        assert time.monotonic() - before < 60
    got_through = attack.succeeded(victims, output)
    assert {STOPPED: False, POSSIBLE: True}[table()[attack.name][level]] == got_through, (ended, output)
    assert ended.out_of_memory == (attack.name == "memory bomb")
    assert not [p for p in psutil.Process().children() if victims.engine is None or p.pid != victims.engine.pid]


def test_the_table_names_every_attack() -> None:
    assert set(table()) >= {attack.name for attack in ATTACKS}


def test_above_process_nothing_gets_through() -> None:
    """Acceptance 4 of the sandboxes: file system, network, signals, credentials."""
    assert {cell for row in table().values() for level, cell in row.items() if level != "process"} == {STOPPED}
