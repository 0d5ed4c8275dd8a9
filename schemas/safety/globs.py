"""Globs on paths of a repository, by the rules that people know from .gitignore.

``*`` and ``?`` stay within a name, ``**`` crosses folders. A glob without a slash (but at its end) matches a name at
any depth; with one it begins at the top, as with a leading slash. A trailing slash means a folder and all that is in
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def _pattern(glob: str, exact: bool) -> re.Pattern[str]:
    body = glob.strip("/")
    anchored = "/" in body or glob.startswith("/")
    special = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    parts = [special.get(token, re.escape(token)) for token in re.split(r"(\*\*/|\*\*|\*|\?)", body)]
    head = "" if anchored else r"(?:.*/)?"
    inside = "" if exact and set(glob) & set("*?") else r"(?:/.*)?"
    tail = r"/.*" if glob.endswith("/") else inside
    return re.compile(head + "".join(parts) + tail, re.DOTALL | (0 if exact else re.IGNORECASE))


@lru_cache(maxsize=256)
def _any(globs: tuple[str, ...], exact: bool) -> re.Pattern[str]:
    """All of them in one: most paths match none, and then one look is enough."""
    found = "|".join(f"(?:{_pattern(glob, exact).pattern})" for glob in globs)
    return re.compile(found or r"(?!)", re.DOTALL | (0 if exact else re.IGNORECASE))


def matching(path: str, globs: Iterable[str], *, exact: bool = False) -> str | None:
    """The first glob that a path matches, or lies under; None if there is none.

    What forbids is read widely: letters match in either case, and a folder of the name counts as well. What allows is
    read narrowly, with ``exact``: letters as they are, and ``README*`` is no folder.
    """
    globs = tuple(globs)
    if not _any(globs, exact).fullmatch(path):
        return None
    return next(glob for glob in globs if _pattern(glob, exact).fullmatch(path))
