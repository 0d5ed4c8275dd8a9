"""The safety rows of the profiles (CONTRACTS C2)."""

from __future__ import annotations

from schemas.safety.operations import OPERATIONS
from schemas.safety.paths import APPROVED, PROTECTED_BRANCHES
from schemas.safety.rules import Safety

DEFAULT = Safety(
    operations={name: operation.default for name, operation in OPERATIONS.items()},
    oracle="ask",
    protected_branches=PROTECTED_BRANCHES,
    push=False,
)
OVERNIGHT = Safety(
    operations={name: operation.overnight for name, operation in OPERATIONS.items()},
    allowed_paths=(APPROVED,),
    max_lines=30,
    min_alignment=80.0,
    tests_required=True,
    oracle="ask",
    protected_branches=PROTECTED_BRANCHES,
    push=False,
)
PROFILES: dict[str, Safety] = {"default": DEFAULT, "maestro": DEFAULT, "build": DEFAULT, "overnight": OVERNIGHT}


def safety_of(profile: str) -> Safety:
    """The safety rows of a profile. Raises ValueError for a profile that does not exist."""
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; known are {', '.join(PROFILES)}")
    return PROFILES[profile]
