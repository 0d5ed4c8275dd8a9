"""Vectors from an OpenAI-compatible endpoint, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.learner.embedders import EmbedderFailed, choose
from services.learner.embedders.endpoint import TOGETHER


class Server(ThreadingHTTPServer):
    """Answers with vectors that tell the text's length, in reverse order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self.raw: tuple[int, bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/"


class Handler(BaseHTTPRequestHandler):
    """POST /v1/embeddings."""

    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append({"path": self.path, "key": self.headers.get("Authorization"), **asked})
        rows = [{"index": n, "embedding": [len(text), 1, 0]} for n, text in enumerate(asked["input"])]
        code, data = self.server.raw or (200, json.dumps({"data": rows[::-1]}).encode())
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_it_asks_in_parts_and_keeps_the_order(server: Server) -> None:
    embedder = choose("auto", url=server.url, model="nomic-embed-text", key="k-111")
    assert (embedder.name, embedder.semantic, embedder.size()) == ("nomic-embed-text", True, 3)
    texts = ["x" * n for n in range(1, TOGETHER + 3)]
    vectors = embedder.embed(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert isinstance(vector, list)
        assert vector[0] / vector[1] == pytest.approx(len(text))
        assert sum(x * x for x in vector) == pytest.approx(1.0)
    assert [len(asked["input"]) for asked in server.seen] == [1, TOGETHER, 2]
    assert {(a["path"], a["key"], a["model"]) for a in server.seen} == {
        ("/v1/embeddings", "Bearer k-111", "nomic-embed-text")
    }


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ((404, b'{"error": "model not found"}'), "answers 404: .*model not found"),
        ((200, b"not JSON"), "gives no embeddings"),
        ((200, b'{"data": []}'), "gave 0 vectors for 1 texts"),
        ((200, b'{"data": [{"index": 0, "embedding": [0, 0]}]}'), "without a direction"),
        ((200, b'{"data": [{"embedding": [1]}]}'), "gives no embeddings"),
    ],
)
def test_what_is_wrong_is_said(server: Server, raw: tuple[int, bytes], said: str) -> None:
    server.raw = raw
    with pytest.raises(EmbedderFailed, match=said) as failed:
        choose("openai", url=server.url, model="m", key="k-111").embed(["x"])
    assert "k-111" not in str(failed.value)


def test_nobody_answers() -> None:
    with pytest.raises(EmbedderFailed, match="gives no embeddings"):
        choose("openai", url="http://127.0.0.1:9/v1", model="m").embed(["x"])
    with pytest.raises(EmbedderFailed, match="neither http nor https"):
        choose("openai", url="file:///etc/passwd", model="m")
