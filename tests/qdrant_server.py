"""A small server that speaks what we use of Qdrant's REST API, over the client's own local mode: no real server.

There is no Qdrant server to be had where these tests run; this checks paths, bodies and settings that go over the wire.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models


class Server(ThreadingHTTPServer):
    """One collection store, one request at a time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = QdrantClient(":memory:")
        self.lock = threading.Lock()
        self.seen: list[tuple[str, str, Any]] = []
        self.refuse = False
        """Answer everything with 503."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Requests as the client sends them."""

    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        path = self.path.split("?")[0]
        with self.server.lock:
            self.server.seen.append((self.command, path, body))
            if self.server.refuse:
                self._send(503, {"status": {"error": "resting"}})
                return
            parts = path.strip("/").split("/")
            assert parts[0] == "collections", path
            result = self._do(parts[1], "/".join([self.command, *parts[2:]]), body)
        self._send(200, {"result": result, "status": "ok", "time": 0.001})

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # names of the standard library

    def _send(self, code: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self, name: str, what: str, body: Any) -> Any:
        store = self.server.store
        where = _read(models.Filter, (body or {}).get("filter")) if isinstance(body, dict) else None
        if what == "GET/exists":
            return {"exists": store.collection_exists(name)}
        if what == "GET":
            return _plain(store.get_collection(name))
        if what == "PUT":
            asked = models.CreateCollection(**body)
            return store.create_collection(
                name, vectors_config=asked.vectors or {}, sparse_vectors_config=asked.sparse_vectors
            )
        if what == "DELETE":
            return store.delete_collection(name)
        if what == "PUT/index":
            return {"operation_id": 0, "status": "completed"}
        if what == "PUT/points":
            points = TypeAdapter(list[models.PointStruct]).validate_python(body["points"])
            return _plain(store.upsert(name, points))
        if what == "POST/points":
            return _plain(store.retrieve(name, body["ids"], with_payload=True))
        if what == "POST/points/count":
            return _plain(store.count(name, count_filter=where))
        if what == "POST/points/scroll":
            points_found, after = store.scroll(name, scroll_filter=where, limit=body["limit"], with_payload=True)
            return {"points": _plain(points_found), "next_page_offset": after}
        assert what == "POST/points/query", what
        found = store.query_points(
            name, query=models.NearestQuery(**body["query"]), using=body["using"], query_filter=where,
            limit=body["limit"], with_payload=True, with_vectors=body.get("with_vector") or False,
        )  # fmt: skip
        return _plain(found)


def _read(model: Any, raw: Any) -> Any:
    return None if raw is None else TypeAdapter(model).validate_python(raw)


def _plain(value: Any) -> Any:
    return TypeAdapter(Any).dump_python(value, mode="json")


@contextlib.contextmanager
def qdrant_server() -> Iterator[Server]:
    """A server on loopback, gone afterwards."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.store.close()
