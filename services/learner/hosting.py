"""The learner put together from settings."""

from __future__ import annotations

from events.log.jetstream import JetStreamLog
from schemas.settings import Settings
from services.learner.embedders import choose
from services.learner.service import Learner
from services.shell import Context


def build_learner(context: Context, settings: Settings) -> Learner:
    """A learner that answers questions over the connection of its log."""
    client = context.log.client if isinstance(context.log, JetStreamLog) else None
    return Learner(
        context, home=settings.home, place=settings.memory(), client=client,
        embedder=lambda: choose(
            settings.embedder, url=settings.embeddings_url, model=settings.embeddings_model,
            key=settings.embeddings_key.get_secret_value(),
        ),
    )  # fmt: skip
