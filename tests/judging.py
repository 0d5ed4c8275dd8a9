"""A place to judge in, for tests of criteria: two trees of files, a real sandbox, and everything that is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from events.verdict import Result
from schemas.values import Criterion
from services.sandbox import Access, Limits, Sandbox
from services.sandbox.process import ProcessSandbox
from services.verifier.checks import Place, judge
from services.verifier.runners.around import Around, Baselines

VENV = Path(sys.executable).parent
"""Has pytest, ruff and mypy."""


def write(root: Path, files: Mapping[str, str]) -> None:
    """Fill a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@dataclass
class Judging:
    """Judges criteria on ``after``, the result of a task that began with ``before``."""

    place: Place
    kept: dict[str, bytes] = field(default_factory=dict)

    async def judge(self, kind: str, **fields: Any) -> Result:
        """One criterion."""
        return await judge(Criterion(id="c1", kind=kind, **fields), self.place)  # type: ignore[arg-type]

    def evidence(self, result: Result) -> Any:
        """The document that a result points to."""
        assert result.evidence is not None
        return json.loads(self.kept[result.evidence.sha256])

    def about(self, **changes: Any) -> None:
        """Change what is known about the task."""
        assert self.place.around is not None
        self.place = replace(self.place, around=replace(self.place.around, **changes))


@contextlib.asynccontextmanager
async def judging(
    folder: Path,
    after: Mapping[str, str],
    *,
    before: Mapping[str, str] | None = None,
    path: str | None = None,
    project: Path | None = None,
    title: str = "Do the work",
    baselines: Baselines | None = None,
) -> AsyncIterator[Judging]:
    """Both trees in folders, as the verifier lays them out. ``path`` is the PATH, by default our tools first."""
    old = after if before is None else before
    for name in ("files", "tmp", "output", "home"):
        (folder / name).mkdir(parents=True)
    write(folder / "files", after)
    kept: dict[str, bytes] = {}

    async def keep(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        kept[digest] = data
        return digest

    async def nothing() -> bytes:
        return b""

    async def checkout() -> Path:
        if not (folder / "before").exists():
            (folder / "before").mkdir()
            write(folder / "before", old)
        return folder / "before"

    def tree(files: Mapping[str, str]) -> str:
        return hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()

    changes = {p: "A" if p not in old else "M" for p in after if old.get(p) != after[p]}
    changes |= {p: "D" for p in old if p not in after}
    sandbox = ProcessSandbox()
    env = {"PATH": path or f"{VENV}:{os.environ['PATH']}", "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    around = Around(
        scope="acme/1", title=title, files=(), plan=None, project=project, tmp=folder / "tmp",
        tree=tree(after), before=tree(old), changes=changes, checkout=checkout, baselines=baselines or Baselines(),
    )  # fmt: skip

    async def confine() -> tuple[Sandbox, Limits, Access]:
        return sandbox, Limits(), Access()

    place = Place(
        files=folder / "files", scratch=folder / "output", env=env, output=nothing, keep=keep, confine=confine,
        around=around,
    )  # fmt: skip
    try:
        yield Judging(place, kept)
    finally:
        await sandbox.close()
