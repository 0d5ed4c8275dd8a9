"""What the founding documents call our states (contract C24). Ours are finer; this is the one place that maps them."""

from __future__ import annotations

EXECUTION = {
    "submitted": "queued",
    "queued": "queued",
    "running": "running",
    "pausing": "running",
    "awaiting_approval": "paused",
    "blocked": "blocked",
    "paused": "paused",
    "cancelling": "running",
    "completed": "completed",
    "failed": "failed",
    "rejected": "failed",
    "cancelled": "cancelled",
}
"""The SQL type ``execution_status``."""
TASK = {
    "pending": "pending",
    "ready": "pending",
    "running": "in_progress",
    "executed": "in_progress",
    "faulted": "in_progress",
    "waiting": "in_progress",
    "taken": "in_progress",
    "verified": "completed",
    "satisfied": "completed",
    "failed": "failed",
    "blocked": "failed",
    "skipped": "skipped",
    "cancelled": "skipped",
}
"""The SQL type ``task_status``."""
EXECUTION_WORDS = ("queued", "running", "paused", "blocked", "completed", "failed", "cancelled")
TASK_WORDS = ("pending", "in_progress", "completed", "failed", "skipped")
