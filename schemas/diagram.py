"""The dependency graph of a plan as a mermaid diagram: waves as subgraphs, the critical path marked."""

from __future__ import annotations

from schemas.graph import Analysis, analyse
from schemas.reading import Reading, TaskRead
from schemas.values import SourceStatus

LONGEST_LABEL = 60

_CLASSES: dict[SourceStatus, str] = {
    "completed": "done",
    "in_progress": "running",
    "failed": "failed",
    "skipped": "skipped",
    "blocked": "blocked",
}
_STYLES = (
    "classDef done fill:#d6f5d6,stroke:#2e7d32,color:#1b1b1b",
    "classDef running fill:#fff3cd,stroke:#b8860b,color:#1b1b1b",
    "classDef failed fill:#f8d7da,stroke:#b02a37,color:#1b1b1b",
    "classDef skipped fill:#eeeeee,stroke:#9e9e9e,color:#616161,stroke-dasharray:4 3",
    "classDef blocked fill:#e2e3e5,stroke:#6c757d,color:#1b1b1b",
    "classDef critical stroke:#c2185b,stroke-width:3px",
)
_SPECIAL = frozenset('&<>"#`\\')
"""All that mermaid or a browser could take for more than text; written as ``#35;``, mermaid's own form."""


def mermaid(reading: Reading, analysis: Analysis | None = None) -> str:
    """A ``flowchart`` of the tasks that run. Nodes are called ``n0``, ``n1``, …: ids of a plan only stand in labels."""
    found = analysis or analyse(reading)
    tasks = {task.id: task for task in reversed(reading.tasks)}
    names = {name: f"n{number}" for number, name in enumerate(found.edges)}
    placed = {name for wave in found.waves for name in wave}
    lines = ["flowchart LR"]
    for number, wave in enumerate(found.waves, 1):
        lines += _subgraph(f"w{number}", f"Wave {number}", wave, names, tasks)
    left = [name for name in found.edges if name not in placed]
    if left:
        lines += _subgraph("cycle", "Waits for itself", left, names, tasks)
    critical = set(zip(found.critical_path, found.critical_path[1:], strict=False))
    marked = []
    for count, (early, late) in enumerate(
        (early, late) for late, all_early in found.edges.items() for early in all_early
    ):
        lines.append(f"  {names[early]} --> {names[late]}")
        if (early, late) in critical:
            marked.append(str(count))
    lines += [f"  {style}" for style in _STYLES] if names else []
    for status, style in _CLASSES.items():
        members = [names[name] for name in found.edges if name in tasks and tasks[name].status == status]
        if members:
            lines.append(f"  class {','.join(members)} {style}")
    path = [names[name] for name in found.critical_path]
    if path:
        lines.append(f"  class {','.join(path)} critical")
    if marked:
        lines.append(f"  linkStyle {','.join(marked)} stroke:#c2185b,stroke-width:3px")
    return "\n".join(lines) + "\n"


def _subgraph(own: str, title: str, members: list[str], names: dict[str, str], tasks: dict[str, TaskRead]) -> list[str]:
    nodes = [f'    {names[name]}["{_label(name, tasks.get(name))}"]' for name in members]
    return [f'  subgraph {own}["{title}"]', *nodes, "  end"]


def _label(name: str, task: TaskRead | None) -> str:
    title = task.title if task is not None and task.title != name else ""
    text = f"{name}: {title}" if title else name
    return escape(text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…")


def escape(text: str) -> str:
    """Text for a quoted label: one line, no quotes, no markup, no entities of its own, no control characters."""
    line = " ".join(text.split())
    shown = (character for character in line if character.isprintable())
    return "".join(f"#{ord(character)};" if character in _SPECIAL else character for character in shown)
