"""Text at a width: durations, line breaks, columns of a terminal, and nothing that could steer one."""

from __future__ import annotations

import unicodedata

WIDTH = 80


def span(minutes: float) -> str:
    """``135`` is ``2 h 15 min``."""
    whole = round(minutes)
    hours, rest = divmod(whole, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def wrap(text: str, *, first: str = "", rest: str = "", width: int = WIDTH) -> list[str]:
    """Lines of at most ``width`` columns, wide characters counted twice; a longer word is cut."""
    lines: list[str] = []
    line, used = first, columns(first)
    fresh = True
    for word in plain(text).split():
        size = columns(word)
        if not fresh and used + 1 + size > width:
            lines.append(line)
            line, used, fresh = rest, columns(rest), True
        while used + size > width and fresh and width - used > 1:
            piece, word = _cut(word, width - used)
            lines.append(line + piece)
            line, used, size = rest, columns(rest), columns(word)
        line, used = (line + word, used + size) if fresh else (f"{line} {word}", used + 1 + size)
        fresh = False
    return [*lines, line.rstrip()]


def _cut(word: str, room: int) -> tuple[str, str]:
    used = 0
    for index, character in enumerate(word):
        used += columns(character)
        if used > room and index:
            return word[:index], word[index:]
    return word, ""


def columns(text: str) -> int:
    """How many columns a terminal gives to a text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def plain(text: str) -> str:
    """Without control characters, so that no text of a plan can steer a terminal."""
    return "".join(one if one.isprintable() else " " for one in text)
