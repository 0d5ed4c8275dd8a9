"""Coverage-guided fuzzing of the plan readers: ``make fuzz RUNS=…``.

Whatever the bytes, a reader gives a plan or diagnostics, never an exception, within two seconds of processor time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["schemas"]):
    from schemas.accept import accept
    from schemas.formats import formats, read_text
    from schemas.validate import validate

LIMIT = 2.0
"""Seconds of processor time for one input of at most 64 KiB."""
NAMES = ("plan.yaml", "plan.json", "ROADMAP.md", "01-01-PLAN.md", "tasks.md", "PRD.md", "issues.jsonl", "prd.json", "x")


def one_input(data: bytes) -> None:
    """Read the bytes under a name, or as a forced format, that their first two bytes choose."""
    if len(data) < 2:
        return
    name = NAMES[data[0] % len(NAMES)]
    known = (None, *formats())
    forced = known[data[1] % len(known)]
    started = time.process_time()
    reading = validate(read_text(name, data[2:], forced))
    if any(d.code == "reader-failed" for d in reading.diagnostics):
        raise AssertionError(next(str(d) for d in reading.diagnostics if d.code == "reader-failed"))
    accepted = accept(reading, plan_id="p", agent="x")
    if time.process_time() - started > LIMIT:
        raise AssertionError(f"took {time.process_time() - started:.1f} s as {forced or reading.format}")
    if isinstance(accepted, list) and not accepted:
        raise AssertionError("neither a plan nor a diagnostic")


def main() -> None:
    """Start from the corpus; libFuzzer's options follow on the command line."""
    seeds = Path(sys.argv[1])
    seeds.mkdir(parents=True, exist_ok=True)
    corpus = Path(__file__).resolve().parent.parent / "corpus"
    for number, path in enumerate(sorted(p for p in corpus.rglob("*") if p.is_file())):
        raw = path.read_bytes()[:16_384]
        name = next((i for i, n in enumerate(NAMES) if path.suffix == Path(n).suffix), len(NAMES) - 1)
        (seeds / f"corpus-{number}").write_bytes(bytes([name, 0]) + raw)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
