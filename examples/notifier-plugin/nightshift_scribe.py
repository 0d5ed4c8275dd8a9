"""A channel for Nightshift. Nothing of Nightshift is imported: a plugin is an async callable that gets a mapping."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


async def tell(notice: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Append one notice to the file that ``options`` or ``SCRIBE_FILE`` names; what it raises is tried again."""
    path = Path(options.get("file") or os.environ.get("SCRIBE_FILE") or "notices.txt")
    line = json.dumps({key: notice[key] for key in ("id", "severity", "title", "text")}) + "\n"
    await asyncio.to_thread(_append, path, line)


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
