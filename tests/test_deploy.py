"""What deploy/ holds is what the code says, and a real server takes it."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from events.log.access import BOOTSTRAP, SERVICES, SYSTEM, users
from events.log.streams import BootstrapError
from nightshift import deployment
from nightshift.deployment import STORE, configuration, main, new_secrets, variable, write_configuration
from nightshift.server_process import HOST, find_server, free_port, lets_in

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def variables(text: str) -> dict[str, str]:
    """Lines of NAME=value."""
    return dict(line.split("=", 1) for line in text.splitlines())


def check(path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Let nats-server judge a configuration."""
    return subprocess.run(
        [find_server(), "-t", "-c", str(path)], env=environment, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A server on deploy/nats.conf, with another port and store; gives its port and the secrets."""
    port, known = free_port(), variables(new_secrets())
    path = tmp_path / "nats.conf"
    path.write_text((DEPLOY / "nats.conf").read_text().replace(STORE, str(tmp_path / "store")))
    command = [find_server(), "-c", str(path), "-a", HOST, "-p", str(port)]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=known, stderr=log) as process:
        try:
            yield port, known
        finally:
            process.kill()


def test_nats_conf_is_what_the_code_renders(tmp_path: Path) -> None:
    text = (DEPLOY / "nats.conf").read_text()
    assert text == configuration(), "run: python -m nightshift.deployment conf --output deploy/nats.conf"
    write_configuration(tmp_path / "nats.conf")
    assert (tmp_path / "nats.conf").read_text() == text
    assert sorted(re.findall(r"password: (.*)", text)) == sorted(f"${variable(user)}" for user in users(("default",)))


def test_nats_server_takes_it_only_with_every_secret() -> None:
    known = variables(new_secrets())
    assert check(DEPLOY / "nats.conf", known).returncode == 0
    del known[variable("verifier")]
    refused = check(DEPLOY / "nats.conf", known)
    assert refused.returncode != 0
    assert "NIGHTSHIFT_PASSWORD_VERIFIER" in refused.stderr


def test_secrets_differ_and_are_kept_private(tmp_path: Path) -> None:
    assert main(["secrets", "acme", "other", "--output", str(tmp_path / ".env")]) == 0
    known = variables((tmp_path / ".env").read_text())
    assert set(known) == {variable(user) for user in users(("acme", "other"))}
    assert len(set(known.values())) == len(known)
    assert all(re.fullmatch(r"p[0-9a-f]{48}", value) for value in known.values())
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_conf_and_secrets_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conf"]) == 0
    assert capsys.readouterr().out == configuration()
    assert main(["secrets"]) == 0
    assert set(variables(capsys.readouterr().out)) == {variable(user) for user in users(("default",))}
    with pytest.raises(SystemExit):
        main(["conf", "a-b", "a_b"])
    assert "share one variable" in capsys.readouterr().err


def test_bootstrap_and_ping_on_the_deployed_configuration(
    deployed: tuple[int, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port, known = deployed

    async def ready() -> None:
        async with asyncio.timeout(10):
            while not await lets_in(port, SYSTEM, known[variable(SYSTEM)]):  # noqa: ASYNC110  # a process
                await asyncio.sleep(0.02)

    def use(user: str, password: str | None = None) -> None:
        url = f"nats://{user}:{password or known[variable(user)]}@{HOST}:{port}"
        monkeypatch.setenv("NIGHTSHIFT_NATS_URL", url)

    asyncio.run(ready())
    use(BOOTSTRAP)
    assert main(["bootstrap", "--max-bytes", str(1 << 26)]) == 0
    assert main(["bootstrap", "--max-bytes", str(1 << 26)]) == 0
    for user in (*SERVICES, SYSTEM):
        use(user)
        assert main(["ping"]) == 0
    capsys.readouterr()
    use("planner", "wrong")
    assert main(["ping"]) == 3
    assert "Authorization" in capsys.readouterr().err
    monkeypatch.setattr(deployment, "bootstrap", _refuse)
    use(BOOTSTRAP)
    assert main(["bootstrap"]) == 3
    monkeypatch.delenv("NIGHTSHIFT_NATS_URL")
    with pytest.raises(SystemExit):
        main(["ping"])


async def _refuse(*args: object, **kwargs: object) -> None:
    raise BootstrapError("no")


def test_compose_has_a_block_for_each_service_with_its_own_secret_only() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"nats", "bootstrap", *SERVICES}
    for name in SERVICES:
        block = services[name]
        assert block["command"] == [name]
        known = {"NIGHTSHIFT_NATS_URL": f"nats://{name}:${{{variable(name)}:?}}@nats:4222"}
        if name == "postgres":
            known["NIGHTSHIFT_POSTGRES_DSN"] = "${NIGHTSHIFT_POSTGRES_DSN:-}"
        assert block["environment"] == known
        assert "env_file" not in block
        assert block["restart"] == "unless-stopped"
        assert block["volumes"] == ["state:/state"]
        assert block["depends_on"] == {"bootstrap": {"condition": "service_completed_successfully"}}
    assert variable(BOOTSTRAP) in services["bootstrap"]["environment"]["NIGHTSHIFT_NATS_URL"]
    assert services["nats"]["ports"] == ["127.0.0.1:4222:4222"]
    assert all("healthcheck" in services[name] for name in ("nats", *SERVICES))
    assert {block["image"] for block in services.values()} == {"nightshift"}
    assert set(COMPOSE["volumes"]) == {"data", "state"}


def test_the_image_runs_services_as_nobody_special() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "FROM python:3.11-slim" in lines
    assert lines.index("USER nightshift") < lines.index('ENTRYPOINT ["python", "-m", "services"]')
    assert any("git" in line and "apt-get install" in line for line in lines)
    copied = {line.split()[1] for line in lines if line.startswith("COPY ") and len(line.split()) == 3}
    assert copied == {"schemas", "events", "projections", "services", "nightshift"}
    assert all((ROOT / folder).is_dir() for folder in copied)


def test_no_secret_lies_in_deploy() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert not re.search(r"p[0-9a-f]{48}", path.read_text()), path
