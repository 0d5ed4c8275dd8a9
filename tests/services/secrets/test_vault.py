"""The vault: encrypted, per tenant, with clear errors; a rotation that is killed anywhere leaves it readable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from services.secrets import keys as keys_module
from services.secrets.keys import FILE_VARIABLE, VARIABLE, KeyProblem
from services.secrets.vault import BadSecret, Vault, VaultProblem

VALUE = "s3cr3t-value-111"


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    return Vault(tmp_path / "secrets")


def test_what_is_set_comes_back_and_stands_nowhere_in_clear(vault: Vault) -> None:
    vault.set("default", "TOKEN", VALUE)
    vault.set("acme", "TOKEN", "another-tenants")
    vault.set("default", "KEY", "line one\nline two\n")
    assert vault.values("default") == {"TOKEN": VALUE, "KEY": "line one\nline two\n"}
    assert vault.values("acme") == {"TOKEN": "another-tenants"}
    assert vault.values("nobody") == {}
    assert list(vault.names("default")) == ["KEY", "TOKEN"]
    for path in vault.folder.iterdir():
        assert VALUE.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert vault.folder.stat().st_mode & 0o077 == 0


def test_setting_again_replaces_and_removing_forgets(vault: Vault) -> None:
    vault.set("default", "TOKEN", VALUE)
    vault.set("default", "TOKEN", "a-newer-value")
    assert vault.values("default") == {"TOKEN": "a-newer-value"}
    assert vault.remove("default", "TOKEN")
    assert not vault.remove("default", "TOKEN")
    assert vault.values("default") == {}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("TOKEN", "abc", "fewer than 4"),
        ("TOKEN", "  abc \n", "fewer than 4"),
        ("TOKEN", "aaaaaaaa", "again and again"),
        ("TOKEN", "ab\0cdef", "NUL"),
        ("TOKEN", "x" * 20_000 + "y" * 20_000, "32,768"),
        ("MY_TOKEN", "token", "the name holds the value"),
        ("1X", VALUE, "no name"),
        ("A-B", VALUE, "no name"),
        ("", VALUE, "no name"),
        ("A\n", VALUE, "no name"),
    ],
)
def test_what_is_no_secret_is_refused(vault: Vault, name: str, value: str, why: str) -> None:
    with pytest.raises(BadSecret, match=why) as refused:
        vault.set("default", name, value)
    assert value not in str(refused.value) or len(value) < 6
    assert not vault.path.exists()


def test_a_rotation_leaves_only_the_new_key(vault: Vault) -> None:
    vault.set("default", "TOKEN", VALUE)
    vault.set("acme", "TOKEN", "another-tenants")
    old, before = (vault.folder / "key").read_text(), vault.path.read_text()
    assert vault.rotate() == 2
    new = (vault.folder / "key").read_text()
    assert new != old
    assert len(new.split()) == 1
    assert vault.values("default") == {"TOKEN": VALUE}
    vault.path.write_text(before)
    with pytest.raises(KeyProblem, match="wrong key"):
        vault.values("default")


KILLED = """
import os, signal, sys
from pathlib import Path
from cryptography.fernet import Fernet, MultiFernet
from services.secrets.vault import Vault

def killed(vault, left):
    def dying(step):
        def wrapped(*arguments, **named):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return step(*arguments, **named)
        return wrapped
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    for name in ("open", "fdopen", "fsync", "fchmod", "close"):
        setattr(os, name, dying(getattr(os, name)))
    Path.replace = dying(Path.replace)
    MultiFernet.rotate = dying(MultiFernet.rotate)
    vault.rotate()
    os._exit(0)

vault, step = Vault(Path(sys.argv[1])), 0
values, seen = vault.values("default"), set()
while killed(vault, step):
    step += 1
    seen.add(len((vault.folder / "key").read_text().split()))
    assert vault.values("default") == values, f"killed at step {step}"
assert step > 10, step
assert max(seen) > 1, "it was never killed between the keys"
"""


def test_a_rotation_killed_at_any_step_leaves_a_readable_vault(vault: Vault) -> None:
    values = {f"SECRET_{number}": f"value number {number}" for number in range(3)}
    for name, value in values.items():
        vault.set("default", name, value)
    subprocess.run([sys.executable, "-c", KILLED, str(vault.folder)], check=True, timeout=60)
    assert {path.name for path in vault.folder.iterdir()} == {"key", "lock", "vault.json"}
    assert vault.values("default") == values
    assert len((vault.folder / "key").read_text().split()) == 1


def test_a_kill_in_the_middle_keeps_both_keys_and_the_next_rotation_drops_them(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("default", "TOKEN", VALUE)
    written: list[int] = []

    def second_fails(path: Path, text: str) -> None:
        written.append(1)
        if len(written) == 2:
            raise OSError("no space left on device")
        keys_module.write_private(path, text)

    for module in ("services.secrets.keys", "services.secrets.vault"):
        monkeypatch.setattr(f"{module}.replace_private", second_fails)
    with pytest.raises(OSError, match="no space"):
        vault.rotate()
    monkeypatch.undo()
    assert len((vault.folder / "key").read_text().split()) == 2
    assert vault.values("default") == {"TOKEN": VALUE}
    vault.set("default", "OTHER", "set-in-between")
    vault.rotate()
    assert len((vault.folder / "key").read_text().split()) == 1
    assert vault.values("default") == {"TOKEN": VALUE, "OTHER": "set-in-between"}


def test_keys_from_the_environment_are_rotated_by_whoever_gives_them(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    monkeypatch.setenv(VARIABLE, old)
    vault.set("default", "TOKEN", VALUE)
    assert not (vault.folder / "key").exists()
    with pytest.raises(KeyProblem, match="put a new key before the old one"):
        vault.rotate()
    monkeypatch.setenv(VARIABLE, f"{new},{old}")
    assert vault.rotate() == 1
    monkeypatch.setenv(VARIABLE, new)
    assert vault.values("default") == {"TOKEN": VALUE}
    monkeypatch.setenv(VARIABLE, old)
    with pytest.raises(KeyProblem, match="wrong key"):
        vault.values("default")


def test_a_key_file_of_ones_own(vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.key"
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    vault.set("default", "TOKEN", VALUE)
    assert file.stat().st_mode & 0o777 == 0o600
    vault.rotate()
    assert vault.values("default") == {"TOKEN": VALUE}
    file.chmod(0o640)
    with pytest.raises(KeyProblem, match="chmod 600"):
        vault.values("default")
    monkeypatch.setenv(VARIABLE, "x")
    with pytest.raises(KeyProblem, match="both set"):
        vault.values("default")


def test_what_is_wrong_is_said(vault: Vault) -> None:
    vault.set("default", "TOKEN", VALUE)
    vault.set("default", "OTHER", "another-one")
    good, key = vault.path.read_text(), (vault.folder / "key").read_text()
    entries = json.loads(good)
    entries["tenants"]["default"]["OTHER"], entries["tenants"]["default"]["TOKEN"] = (
        entries["tenants"]["default"]["TOKEN"], entries["tenants"]["default"]["OTHER"],
    )  # fmt: skip
    torn = json.loads(good)
    torn["tenants"]["default"]["OTHER"]["token"] = torn["tenants"]["default"]["OTHER"]["token"][:-9]
    for text, why in [
        (good[:50], "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1}', "is damaged"),
        ('{"version": 9, "tenants": {}}', "update it"),
        (json.dumps(entries), "holds another secret"),
        (json.dumps(torn), "OTHER cannot be opened"),
    ]:
        vault.path.write_text(text)
        with pytest.raises(VaultProblem, match=why) as problem:
            vault.values("default")
        assert VALUE not in str(problem.value)
    vault.path.write_text(good)
    for text, why in [("", "no key"), ("nonsense", "holds no key"), (Fernet.generate_key().decode(), "wrong key")]:
        (vault.folder / "key").write_text(text)
        with pytest.raises(KeyProblem, match=why):
            vault.values("default")
        with pytest.raises(KeyProblem, match=why):
            vault.set("default", "THIRD", "a-third-value")
    (vault.folder / "key").unlink()
    with pytest.raises(KeyProblem, match="is gone"):
        vault.values("default")
    with pytest.raises(KeyProblem, match="is gone"):
        vault.set("default", "THIRD", "a-third-value")
    assert list(vault.names("default")) == ["OTHER", "TOKEN"]
    (vault.folder / "key").write_text(key)
    os.chmod(vault.folder / "key", 0o600)
    assert vault.values("default") == {"TOKEN": VALUE, "OTHER": "another-one"}
