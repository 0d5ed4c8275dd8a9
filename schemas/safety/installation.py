"""The rules of an installation and of its tenants, as ``nightshift.toml`` has them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.safety.model import SafetyModel, bound
from schemas.safety.rules import Safety, stricter


class TenantRules(BaseModel):
    """What one tenant's plans keep to. Other settings of a tenant are not looked at here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    safety: SafetyModel | None = None


class Installation(BaseModel):
    """The tables ``[safety]`` and ``[tenants.NAME.safety]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    safety: SafetyModel | None = None
    tenants: dict[str, TenantRules] = Field(default_factory=dict)

    def rules_of(self, tenant: str) -> Safety:
        """What plans of a tenant keep to, whatever they say themselves."""
        theirs = self.tenants.get(tenant)
        return stricter(bound(self.safety), bound(theirs.safety if theirs else None))
