"""What every answer needs: a refusal that is a fact, and how an execution stands in words. Pure."""

from __future__ import annotations

from events.execution import RequestRefused
from events.fold import ExecutionFold
from events.log import Recorded
from events.machines import EXECUTION
from schemas import names
from services.shell import Decision


def refusal(request: Recorded, what: str, reason: str) -> Decision:
    """What was asked for makes no sense now."""
    identity = getattr(request.fact, "request", None) or request.id
    fact = RequestRefused(request=identity, what=what, reason=reason, requested_by=request.actor)
    return Decision(entity=names.EXECUTION, fact=fact, cause=request.id)


def standing(fold: ExecutionFold) -> str:
    """How an execution stands, as a reason."""
    known = fold.submission is not None or fold.plan is not None
    return f"the execution is {fold.state.replace('_', ' ')}" if known else "there is no such execution"


def at_work(fold: ExecutionFold) -> bool:
    """Whether tasks of the execution can change."""
    return fold.plan is not None and fold.state not in (*EXECUTION.final, "queued", "cancelling")
