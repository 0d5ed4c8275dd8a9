"""Questions to the learner: ``learn.{tenant}.{verb}``. A tenant's answers come from its own lessons only."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from events.log.questions import EVERYBODY, Refused
from services.learner.decide import recommended, resolved
from services.learner.normal import signature as signature_of
from services.learner.recall import NO_MEMORY, Recall

LONGEST = 4000
"""Characters of a text that are looked up."""
MOST_TEXTS = 100
MOST = 50
_SIGNATURE = re.compile(r"[0-9a-f]{16}")
VERBS = ("health", "recommend", "resolutions", "rebuild")


class Answers:
    """Answers from one memory, brought up to date first."""

    def __init__(self, recall: Recall) -> None:
        self.recall = recall

    async def answer(self, tenant: str, verb: str, asked: dict[str, Any]) -> Any:
        """One question. Raises Refused."""
        if verb not in VERBS:
            raise Refused("unknown-question", f"the learner cannot answer {verb!r}", f"ask one of: {', '.join(VERBS)}")
        try:
            return await getattr(self, f"_{verb}")(tenant, **asked)
        except TypeError as error:
            raise Refused("bad-question", f"{verb}: {error}", "see docs/learning.md, questions") from error
        except NO_MEMORY as error:
            raise Refused("no-memory", f"nothing can be recalled: {error}", "nightshift doctor") from error

    async def _health(self, tenant: str) -> dict[str, Any]:
        """Who embeds, where the memory is, how much it holds, and what is wrong."""
        answer: dict[str, Any] = {"embedder": None, "semantic": None, "lessons": None}
        if tenant == EVERYBODY:
            answer["place"] = str(self.recall.place)
        try:
            embedder = self.recall.embedder
            answer |= {"embedder": embedder.name, "semantic": embedder.semantic}
            if self.recall.is_open or await self.recall.something_learned():
                await self.recall.catch_up()
                answer["lessons"] = await self.recall.count(None if tenant == EVERYBODY else tenant)
            else:
                answer["lessons"] = 0
        except NO_MEMORY as error:
            return answer | {"problems": [str(error)]}
        return answer | {"problems": []}

    async def _recommend(
        self,
        tenant: str,
        texts: dict[str, str],
        limit: int = 3,
        success: bool | None = None,
        task_type: str | None = None,
    ) -> dict[str, Any]:
        """The most similar past executions for each text, by the asker's own names for them."""
        self._of_a_tenant(tenant)
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise Refused("bad-question", "texts must be an object of strings", 'send {"texts": {"a": "Deploy it"}}')
        if len(texts) > MOST_TEXTS:
            raise Refused("too-large", f"{len(texts)} texts; at most {MOST_TEXTS} are possible", "ask in parts")
        await self.recall.catch_up()
        found = await self.recall.similar(
            tenant, [text[:LONGEST] for text in texts.values()], limit=max(1, min(limit, MOST)), success=success,
            task_type=task_type,
        )  # fmt: skip
        embedder = self.recall.embedder
        tasks = [msgspec.to_builtins(recommended(name, hits)) for name, hits in zip(texts, found, strict=True)]
        return {"embedder": embedder.name, "semantic": embedder.semantic, "tasks": tasks}

    async def _resolutions(self, tenant: str, signature: str) -> dict[str, Any]:
        """What helped against an error, named by its signature or by the line as it was printed."""
        self._of_a_tenant(tenant)
        key = signature if _SIGNATURE.fullmatch(signature) else signature_of(signature[:LONGEST])
        await self.recall.catch_up()
        return resolved(key, await self.recall.with_signature(tenant, key))

    async def _rebuild(self, tenant: str) -> dict[str, Any]:
        """Forget and read the log again."""
        if tenant != EVERYBODY:
            raise Refused("not-yours", "only the operator rebuilds the memory", "nightshift learn rebuild")
        return {"lessons": await self.recall.rebuild(), "embedder": self.recall.embedder.name}

    @staticmethod
    def _of_a_tenant(tenant: str) -> None:
        if tenant == EVERYBODY:
            raise Refused("bad-question", "lessons are a tenant's own", "ask in a tenant's name")
