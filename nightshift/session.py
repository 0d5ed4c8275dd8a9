"""Reaching an engine from the command line: the one that runs here, the one that is named, or one for the moment."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.log import LogUnavailable
from nightshift.client import Client
from nightshift.engine import Engine, read_note
from nightshift.server_home import server_url
from schemas.settings import Settings

log = logging.getLogger(__name__)


class Unreachable(Exception):
    """No engine answers."""


def settings_of(tenant: str | None = None) -> Settings:
    """The settings, with the tenant that the command names."""
    settings = Settings()
    if tenant:
        settings.tenant = tenant
    return settings


async def engine_url(settings: Settings) -> str | None:
    """The URL of an engine that runs already; None if there is none, or none on the server that is named.

    Raises Unreachable if the server that is named is not there.
    """
    if not settings.nats_url:
        return server_url(settings.home, "operator") if read_note(settings.home) is not None else None
    try:
        client = await Client.open(settings.nats_url, tenant=settings.tenant)
    except LogUnavailable as error:
        raise Unreachable(f"the server that NIGHTSHIFT_NATS_URL names cannot be reached: {error}") from error
    try:
        await client.ask("health", timeout=5.0)
    except LogUnavailable:
        return None
    finally:
        await client.close()
    return settings.nats_url


@asynccontextmanager
async def session(settings: Settings, *, momentary: bool = False) -> AsyncIterator[Client]:
    """A client. ``momentary``: if no engine runs, start server and projections for as long as this lasts.

    Raises Unreachable.
    """
    url = await engine_url(settings)
    engine: Engine | None = None
    try:
        if url is None:
            if not momentary:
                raise Unreachable(f"no engine runs in {settings.home}; start one: nightshift up --detach")
            engine = Engine(settings, services=False)
            await engine.start()
            url = engine.url("operator")
        try:
            client = await Client.open(url, tenant=settings.tenant)
        except LogUnavailable as error:
            raise Unreachable(f"the engine cannot be reached: {error}") from error
        try:
            yield client
        finally:
            await client.close()
    finally:
        if engine is not None:
            await engine.stop(0)
