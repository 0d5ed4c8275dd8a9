"""What looks like a path in running text."""

from __future__ import annotations

import re

_TICKED = re.compile(r"`([^`\n]{1,300})`")
_PATH = re.compile(r"[\w.@~+\-\[\]()/*{}$]+")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}$")
_AT_END = re.compile(r"\b(?:in|at|to|into|from|of)\s+([\w.@+\-\[\]/]+)[.\s]*$")
_VERSION = re.compile(r"v?\d+(?:\.\w+)*")


def is_path(text: str) -> bool:
    """It looks like a file or folder of a repository: no address, no option, no version, no code."""
    if not text or len(text) > 240 or not _PATH.fullmatch(text) or text[0] in "-$({*" or _VERSION.fullmatch(text):
        return False
    if "(" in text and "/" not in text:
        return False
    if text.startswith(("http:", "https:", "@")) or text.endswith("()"):
        return False
    if _EXTENSION.search(text):
        return True
    return "/" in text.rstrip("/") or (text.endswith("/") and len(text) > 1)


def paths_in(text: str) -> list[str]:
    """Paths in back-ticks, and one after "in" at the end of the text; in order, each once."""
    found = [part.strip() for part in _TICKED.findall(text)]
    last = _AT_END.search(text[-300:])
    if last:
        found.append(last.group(1).rstrip("."))
    return list(dict.fromkeys(part for part in found if is_path(part)))
