"""The planner's answer to a rating. Pure."""

from __future__ import annotations

from events.execution import RatingRecorded
from events.fold import ExecutionFold
from events.log import Recorded
from events.request import RatingGiven
from schemas import names
from services.planner.replies import refusal, standing
from services.shell import Decision


def rating(fold: ExecutionFold, request: Recorded, given: RatingGiven) -> Decision:
    """Accept a rating of what has run, from 1 to 10; it counts after the end too."""
    if not 1 <= given.rating <= 10:
        return refusal(request, "rate", f"{given.rating} is no rating; give 1 to 10, 10 is best")
    if fold.plan is None:
        return refusal(request, "rate", standing(fold))
    if given.task is not None:
        task = fold.tasks.get(given.task)
        if task is None:
            return refusal(request, "rate", f"there is no task {given.task!r} in this execution")
        if not task.attempt and task.state != "satisfied":
            return refusal(request, "rate", f"task {given.task!r} is {task.state}; it has not run yet")
    fact = RatingRecorded(rating=given.rating, by=request.actor, task=given.task, notes=given.notes)
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)
