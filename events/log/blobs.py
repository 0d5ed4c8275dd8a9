"""Bytes beside the log, named by their digest: the object store's own format (ADR-20 of NATS).

Any client can read what stands here with its object store; we read by direct get, because no service may create
consumers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from events.log import LogUnavailable
from events.log.connection import LeanClient, parse_headers, status_of

CHUNK = 128 * 1024


class Blobs:
    """The object store, over one connection."""

    def __init__(self, client: LeanClient) -> None:
        self.client = client
        self._known: set[tuple[str, str]] = set()

    async def batch(
        self, stream: str, request: dict[str, Any], *, timeout: float = 10.0
    ) -> AsyncIterator[tuple[bytes, bytes]]:
        """One batched direct get: raw headers and bodies until the server says that this was all.

        Raises TimeoutError if the server falls silent for ``timeout`` seconds, LogUnavailable if nobody answers.
        """
        messages: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        inbox = self.client.new_inbox()
        subscription = await self.client.listen(
            inbox, lambda subject, reply, headers, body: messages.put_nowait((headers, body))
        )
        try:
            await self.client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox)
            while True:
                if messages.empty():
                    async with asyncio.timeout(timeout):
                        headers, body = await messages.get()
                else:
                    headers, body = messages.get_nowait()
                status = status_of(headers)
                if status in (204, 404):
                    return
                if status:
                    raise LogUnavailable(
                        f"reading {stream}: the server answers {headers[9:80].decode(errors='replace')}"
                    )
                yield headers, body
        finally:
            await self.client.unlisten(subscription)

    async def _meta(self, bucket: str, name: str) -> dict[str, Any] | None:
        token = base64.urlsafe_b64encode(name.encode()).decode()
        raw, body = await self.client.ask(f"$JS.API.DIRECT.GET.OBJ_{bucket}.$O.{bucket}.M.{token}", b"", timeout=5.0)
        if status_of(raw):
            return None
        meta: dict[str, Any] = json.loads(body)
        return None if meta.get("deleted") else meta

    async def put(self, bucket: str, data: bytes) -> str:
        """Keep bytes; returns their SHA-256. Idempotent. Raises LogUnavailable, TimeoutError."""
        digest = hashlib.sha256(data)
        name = digest.hexdigest()
        if (bucket, name) in self._known or await self._meta(bucket, name):
            self._known.add((bucket, name))
            return name
        nuid = secrets.token_hex(11)
        chunks = [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)]
        for chunk in chunks:
            await self._store(f"$O.{bucket}.C.{nuid}", chunk)
        meta = {
            "name": name, "bucket": bucket, "nuid": nuid, "size": len(data), "chunks": len(chunks),
            "digest": "SHA-256=" + base64.urlsafe_b64encode(digest.digest()).decode(),
            "mtime": datetime.now(UTC).isoformat(), "options": {"max_chunk_size": CHUNK},
        }  # fmt: skip
        token = base64.urlsafe_b64encode(name.encode()).decode()
        await self._store(f"$O.{bucket}.M.{token}", json.dumps(meta).encode(), {"Nats-Rollup": "sub"})
        self._known.add((bucket, name))
        if len(self._known) > 10_000:
            self._known.clear()
        return name

    async def _store(self, subject: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        _, data = await self.client.ask(subject, body, headers, timeout=5.0)
        error = json.loads(data).get("error")
        if error:
            raise LogUnavailable(f"{subject} could not be stored: {error.get('description')}")

    async def get(self, bucket: str, sha256: str) -> bytes:
        """Read bytes back, hashed again. Raises KeyError if they are not there, ValueError if they are damaged."""
        meta = await self._meta(bucket, sha256)
        if meta is None:
            raise KeyError(f"{bucket} holds no {sha256}")
        data = bytearray()
        wanted = int(meta["chunks"])
        position = 0
        got = 0
        while got < wanted:
            before = got
            request = {"seq": position + 1, "next_by_subj": f"$O.{bucket}.C.{meta['nuid']}", "batch": 64}
            async for headers, body in self.batch(f"OBJ_{bucket}", request):
                found, _ = parse_headers(headers)
                position = int(found["Nats-Sequence"])
                data += body
                got += 1
            if got == before:
                break
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"{bucket}/{sha256} is damaged: its bytes have another digest")
        return bytes(data)
