"""The lives of things, as tables of rows: no code knows a state change that is not a row here."""

from events.machines.branch import BRANCH
from events.machines.execution import EXECUTION
from events.machines.lifecycle import IllegalTransition, Lifecycle
from events.machines.task import TASK

__all__ = ["BRANCH", "EXECUTION", "TASK", "IllegalTransition", "Lifecycle"]
