"""Named policy profiles: the numbers of the modes of work (CONTRACTS C2). A plan may tighten them, not loosen them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from schemas.values import Policy, Profile

HOUR = 3600.0

PROFILES: dict[Profile, dict[str, Any]] = {
    "default": {},
    "maestro": {"max_duration": HOUR, "timeout": HOUR / 2, "on_exhausted": "fail", "approvals": "auto"},
    "build": {"max_attempts": 10, "max_duration": 2 * HOUR, "timeout": 2 * HOUR},
    "overnight": {
        "max_duration": 4 * HOUR, "timeout": HOUR / 2, "max_tasks": 5, "halt_after": 2, "on_exhausted": "fail",
        "approvals": "auto", "tests": "auto", "quality": ("auto", "gate"),
    },
}  # fmt: skip
"""What each profile sets; the rest is as in ``default``."""

CEILINGS = ("max_attempts", "timeout", "max_duration", "max_tasks", "halt_after")
"""Settings in which less is stricter: of the plan's own and the profile's value the smaller one holds."""
FIXED = ("approvals", "on_exhausted")
"""Settings in which a profile's value holds, whatever the plan says."""


def with_profile(policy: Policy, given: set[str]) -> tuple[Policy, list[str]]:
    """The policy under its profile, and the settings in which the plan wanted more than the profile allows.

    ``given`` are the settings that the plan itself names; all others are the profile's.
    """
    wanted, changes = [], dict[str, Any]()
    for name, value in PROFILES[policy.profile].items():
        own = getattr(policy, name)
        if name not in given:
            changes[name] = value
        elif (name in CEILINGS and (own is None or own > value)) or (name in FIXED and own != value):
            changes[name] = value
            wanted.append(name)
    return replace(policy, **changes), wanted
