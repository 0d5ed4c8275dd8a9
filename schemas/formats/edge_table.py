"""Dependencies that stand in a table at the end: ``| Phase | Task | Description | Depends On |`` (FORMATS 6.5)."""

from __future__ import annotations

import re

from schemas.formats.draft import Draft
from schemas.formats.markings import Ids, is_none, references, resolve
from schemas.formats.outline import tables

_NEEDS = ("depends on", "dependencies", "dependency", "depends", "blocked by", "requires", "prerequisites")
_NAMES = ("task", "id", "task id", "#", "step", "item", "no", "no.")


def edge_table(draft: Draft) -> None:
    """Join the rows of such tables with the tasks: by id where they fit, else by order if there are as many."""
    tasks = [task for task in draft.reading.tasks if not task.parent]
    if not tasks:
        return
    for head, body in tables(draft.table):
        needs = next((n for n, cell in enumerate(head) if cell in _NEEDS), None)
        name = next((n for n, cell in enumerate(head) if cell in _NAMES), None)
        if needs is None or name is None or not body:
            continue
        lines = [(row, [*parts, *[""] * (needs + 1)]) for row, parts in body if len(parts) > name]
        labels = [parts[name].strip(" *`") for _, parts in lines]
        known = Ids([task.id for task in tasks], titles={task.id: task.title for task in tasks})
        by_id = {label: found[0] for label in labels if (found := resolve(label, known))}
        if len(by_id) * 2 < len(lines):
            if len(lines) != len(tasks):
                message = f"the table of dependencies has {len(lines)} rows for {len(tasks)} tasks; it is not used"
                draft.note("warning", "unjoined-table", message, lines[0][0].line, "number the boxes as in the table")
                continue
            by_id = {label: task.id for label, task in zip(labels, tasks, strict=True)}
            message = "the rows of the table of dependencies are joined with the boxes by their order"
            draft.note("info", "joined-by-order", message, lines[0][0].line, "number the boxes as in the table")
        rows_by_label = Ids(labels)
        owners = {task.id: task for task in tasks}
        for label, (row, parts) in zip(labels, lines, strict=True):
            owner = owners.get(by_id.get(label, ""))
            if owner is None:
                continue
            if is_none(parts[needs]):
                draft.free.add(id(owner))
                continue
            for reference in references(re.sub(r"<br\s*/?>", ",", parts[needs])):
                targets = [by_id[one] for one in resolve(reference, rows_by_label) if one in by_id]
                if targets:
                    owner.dependencies.extend(one for one in targets if one not in owner.dependencies)
                    draft.free.add(id(owner))
                else:
                    draft.depends(owner, reference, row.line)
