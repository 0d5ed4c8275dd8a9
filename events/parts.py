"""Values that several facts carry: bytes kept elsewhere, and what came of checks."""

from __future__ import annotations

from typing import Literal

from schemas.values import GateMoment, OnFail, value


@value
class Artifact:
    """Bytes kept in the object store."""

    sha256: str
    size: int
    """Bytes that are kept."""
    total: int = 0
    """Bytes there were; more than ``size`` if the middle was left out."""
    media: str = "text/plain"


@value
class BlobRef:
    """Bytes in an object store bucket, by digest."""

    bucket: str
    sha256: str
    size: int


@value
class CountedTests:
    """How a run of tests went, in numbers; the whole report is the evidence."""

    runner: str
    total: int
    passed: int
    failed: int
    skipped: int = 0
    seconds: float = 0.0
    coverage: float | None = None
    """Per cent of the lines; None where nobody measured it."""


@value
class Result:
    """One criterion's yes or no, with its evidence."""

    criterion: str
    kind: str
    text: str
    result: Literal["pass", "fail", "skipped"]
    detail: str = ""
    exit_code: int | None = None
    seconds: float = 0.0
    evidence: Artifact | None = None
    tests: CountedTests | None = None
    measured: str | None = None
    """The value that was compared with the criterion's target, with its unit."""


@value
class GateOutcome:
    """What came of one gate."""

    gate: str
    when: GateMoment
    passed: bool
    on_fail: OnFail
    score: float
    """The share of its checks that passed, from 0 to 1."""
    reason: str = ""
    """Why it did not pass."""
    results: tuple[Result, ...] = ()

    @property
    def halts(self) -> bool:
        """Whether it stops what it guards."""
        return not self.passed and self.on_fail == "halt"
