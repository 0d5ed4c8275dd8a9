"""Channels from the settings: those that are written down, those that a variable switches on, installed plugins."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from schemas.notify import Channel
from schemas.settings import Settings
from services.notifier.channels import Sender
from services.notifier.channels.apprised import Apprised, ntfy_url
from services.notifier.channels.plain import Desktop, LogFile
from services.notifier.channels.plugins import Plugin, installed
from services.notifier.channels.voice import DEFAULT_URL, Voice
from services.notifier.channels.webhook import Webhook

SPEAKING = 60.0
"""Seconds that the voice server may take: it answers when it has finished speaking."""


def channels_of(settings: Settings) -> dict[str, Channel]:
    """Every channel that is on, by name. What is written down outranks what a variable switches on."""
    found: dict[str, Channel] = {}
    found["voice"] = Channel(kind="voice", timeout=SPEAKING, limit=8)
    if settings.ntfy_topic is not None:
        found["ntfy"] = Channel(kind="ntfy", topic=settings.ntfy_topic)
    if settings.discord_webhook is not None:
        found["discord"] = Channel(kind="discord", url=settings.discord_webhook)
    if settings.notify.plugins:
        found |= {name: Channel(kind="plugin") for name in installed()}
    found |= settings.notify.channels
    return {name: channel for name, channel in found.items() if channel.enabled and settings.notify.enabled}


def sender_of(name: str, channel: Channel, settings: Settings) -> Sender:
    """What speaks to a channel."""
    url = _shown(channel.url)
    match channel.kind:
        case "voice":
            where = url or settings.voice_url
            whose = channel.voice_id or settings.voice_id
            return Voice(where or DEFAULT_URL, voice_id=whose, title=channel.title, optional=where is None)
        case "ntfy":
            return Apprised(ntfy_url(_shown(channel.topic) or "", server=url, token=_shown(channel.token)))
        case "discord":
            return Apprised(url or "", attach=channel.attach is not False)
        case "email":
            return Apprised(url or "", attach=channel.attach is not False)
        case "apprise":
            return Apprised(url or "", attach=bool(channel.attach))
        case "webhook":
            return Webhook(url or "", _shown(channel.secret) or "")
        case "desktop":
            return Desktop()
        case "log":
            return LogFile(settings.home / Path(channel.file or "notices.jsonl"))
        case "plugin":
            return Plugin(name, channel.options)


def secrets_of(channel: Channel) -> tuple[str, ...]:
    """What must not be seen in a reason or a log."""
    kept = (channel.url, channel.topic, channel.token, channel.secret)
    return tuple(value.get_secret_value() for value in kept if value is not None and value.get_secret_value())


def _shown(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
