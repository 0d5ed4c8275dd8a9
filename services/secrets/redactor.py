"""Takes secrets out of bytes, whole or as they come in pieces: any split gives the same result as the whole.

Covered is every byte that lies in a match of any form at any place, whatever lies around it. So nothing depends on
where a search begins, and a byte is decided as soon as no match that begins at or before it can still grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.secrets.forms import forms, pieces
from services.secrets.views import views

PLAIN_MARKER = b"***"
MANY = 200
"""Forms beyond which not each is asked what to hold back: it is simply the most."""
_SLICE = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """A place where a secret stands."""

    start: int
    stop: int
    name: str


class Redactor:
    """Knows some secrets by name. Without any it passes everything through."""

    def __init__(self, secrets: Iterable[tuple[str, str]]) -> None:
        parts = [(name, piece) for name, secret in secrets for piece in pieces(secret)]
        self.forms = [(name, form) for name, piece in parts for form in forms(piece)]
        self.width = max((form.width for _, form in self.forms), default=0)
        """The most bytes that are ever held back."""
        self._markers = {name: self._marker(name) for name, _ in parts}

    def __bool__(self) -> bool:
        return bool(self.forms)

    def clean(self, data: bytes) -> bytes:
        """The data with a marker in the place of every secret."""
        if not self.forms:
            return data
        screen = self.screen()
        slices = [data[place : place + _SLICE] for place in range(0, len(data), _SLICE)] or [b""]
        parts = [screen.feed(part) for part in slices[:-1]]
        return b"".join((*parts, screen.close(slices[-1])))

    def text(self, text: str) -> str:
        """The same for text."""
        if not self.forms or not text:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        cleaned = self.clean(raw)
        return text if cleaned == raw else cleaned.decode("utf-8", "replace")

    def locate(self, blocks: Iterable[bytes]) -> tuple[str, int] | None:
        """The first secret in a file, given in blocks, and its line, from 1; None if there is none."""
        held, line = b"", 1
        for block in blocks:
            data = held + block
            found = self.spans(data, len(data))
            if found:
                return found[0].name, line + data.count(b"\n", 0, found[0].start)
            place = max(0, len(data) - self.width)
            held = data[place:]
            line += data.count(b"\n", 0, place)
        return None

    def screen(self) -> Screen:
        """For data that come in pieces."""
        return Screen(self)

    def spans(self, data: bytes, stop: int) -> list[Span]:
        """Every match that begins before ``stop``, by where it begins."""
        found: list[Span] = []
        seen = views(data)
        for name, form in self.forms:
            view = seen[form.view]
            if view is not None and form.anchor not in view:
                continue
            match = form.expression.search(data)
            while match is not None and match.start() < stop:
                found.append(Span(match.start(), match.end(1), name))
                match = form.expression.search(data, match.start() + 1)
        found.sort(key=lambda span: span.start)
        return found

    def opening(self, data: bytes) -> int:
        """The first place at the end of the data where a match may have begun that is not decided yet."""
        first = len(data)
        if len(self.forms) > MANY:
            return max(0, first - self.width + 1)
        for _, form in self.forms:
            match = form.opening.search(data, max(0, len(data) - form.width + 1))
            if match is not None:
                first = min(first, match.start())
        return first

    def marker(self, name: str) -> bytes:
        """What stands in the place of a secret."""
        return self._markers[name]

    def _marker(self, name: str) -> bytes:
        """It names the secret, unless that would show another."""
        marker = f"[secret {name}]".encode()
        return PLAIN_MARKER if self.spans(marker, len(marker)) else marker


class Screen:
    """Redacts a stream: ``feed`` gives what is decided, ``close`` the rest."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        self._covered = 0
        """So many bytes at the start of what is held belong to matches that began before."""
        self._inside = False
        """The last byte given out was covered."""

    def feed(self, chunk: bytes) -> bytes:
        """Take some bytes; gives those that no later ones can change."""
        if not self._redactor:
            return chunk
        data = self._held + chunk
        return self._give(data, self._redactor.opening(data))

    def close(self, chunk: bytes = b"") -> bytes:
        """The rest, after the last bytes there are."""
        data = self._held + chunk
        return self._give(data, len(data))

    def _give(self, data: bytes, stop: int) -> bytes:
        if not data:
            return b""
        given = b"".join(self._render(data, stop))
        self._held = data[stop:]
        return given

    def _render(self, data: bytes, stop: int) -> Iterator[bytes]:
        end = self._covered if self._inside else -1
        place = max(0, min(end, stop))
        for span in self._redactor.spans(data, stop):
            if span.start > end:
                yield data[place : span.start]
                yield self._redactor.marker(span.name)
            end = max(end, span.stop)
            place = min(end, stop)
        yield data[place:stop]
        if stop:
            self._inside = end >= stop
            self._covered = max(0, end - stop)
