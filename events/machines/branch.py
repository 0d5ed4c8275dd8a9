"""The life of an execution's branch, as rows."""

from events.branch import BranchAdvanced, BranchCreated, BranchReverted, BranchRolledBack, RevertRefused
from events.machines.lifecycle import Lifecycle

BRANCH = Lifecycle(
    "branch",
    initial="absent",
    final=(),
    rows=[
        (BranchCreated, "absent", "open"),
        (BranchAdvanced, "open", "open"),
        (BranchRolledBack, "absent", "absent"),
        (BranchRolledBack, "open", "open"),
        (BranchReverted, "open", "open"),
        (RevertRefused, "open", "open"),
    ],
)
