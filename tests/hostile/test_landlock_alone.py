"""Landlock's rules without namespaces: what docs/sandboxes.md says of hosts that have none."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.sandbox.landlock import SIGNALS_SINCE, LandlockSandbox
from services.sandbox.launcher import landlock
from tests.hostile.attacks import ATTACKS, LIMITS, Attack, Victims
from tests.sandboxes import PYTHON, linux_only, run

OPEN = {"change modes outside the workspace", "UDP to the host", "a named socket of the host"}
"""What gets through all the same."""
BOMBS = ("fork bomb", "memory bomb")


@pytest.fixture
def victims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victims]:
    victims = Victims(tmp_path)
    victims.open()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield victims
    victims.close()


@linux_only
@pytest.mark.skipif(landlock.abi() < SIGNALS_SINCE, reason="the kernel's Landlock confines no signals")
@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.name not in BOMBS], ids=lambda attack: attack.name)
async def test_what_landlock_stops_by_itself(attack: Attack, victims: Victims) -> None:
    sandbox = LandlockSandbox(victims.root / "state", os.defpath, namespaces=False)
    try:
        env = {"PATH": os.defpath, **victims.names()}
        ended, output = await run(
            sandbox, PYTHON, "-I", "-c", attack.script, cwd=victims.root / "files", env=env, limits=LIMITS
        )
    finally:
        await sandbox.close()
    assert attack.succeeded(victims, output) == (attack.name in OPEN), (ended, output)
