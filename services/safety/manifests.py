"""Files that say what a project needs and also how it is tested: only the second part steers a runner."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import suppress
from typing import Any

MANIFESTS = {"pyproject.toml": "python", "package.json": "node", "Cargo.toml": "rust", "go.mod": "go"}
"""By file name, whose programs obey it."""

_FREE_NODE = frozenset(
    {"version", "description", "name", "author", "contributors", "license", "keywords", "repository", "homepage",
     "bugs", "private", "files", "funding", "engines"}
)  # fmt: skip
_NODE_NEEDS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
_PYTHON_NEEDS = frozenset({"dependencies", "dev-dependencies", "group", "sources", "source"})
_FROM_ELSEWHERE = re.compile(r"^(?:file|link|portal|workspace|git|https?|npm):|^[./~]|/")


def steering(name: str, text: str | None) -> Any:
    """What of a manifest steers a runner, to be compared. One that cannot be read steers as a whole."""
    if text is None:
        return None
    with suppress(ValueError, RecursionError, AttributeError, TypeError):
        if name == "package.json":
            return _node(json.loads(text))
        if name == "pyproject.toml":
            return _python(tomllib.loads(text))
        if name == "Cargo.toml":
            return _rust(tomllib.loads(text))
        if name == "go.mod":
            return [line.strip() for line in text.splitlines() if re.match(r"\s*(?:replace|toolchain)\b|.*=>", line)]
    return text


def _node(data: dict[str, Any]) -> dict[str, Any]:
    """All but descriptions, and packages that come from the usual place."""
    found = {key: value for key, value in data.items() if key not in _FREE_NODE and key not in _NODE_NEEDS}
    for key in _NODE_NEEDS:
        for package, version in (data.get(key) or {}).items():
            if _FROM_ELSEWHERE.search(str(version)):
                found[f"{key} {package}"] = version
    return found


def _python(data: dict[str, Any]) -> dict[str, Any]:
    """Tools' settings, the build, and what the project plugs into others; not what it needs."""
    tools = {}
    for tool, settings in data.get("tool", {}).items():
        if tool in ("poetry", "pdm", "uv", "hatch", "setuptools", "flit"):
            settings = {key: value for key, value in settings.items() if key not in _PYTHON_NEEDS}
            settings = {key: value for key, value in settings.items() if key not in ("version", "name", "description")}
        if settings:
            tools[tool] = settings
    project = {key: data.get("project", {}).get(key) for key in ("entry-points", "scripts", "dynamic")}
    found = {"tool": tools, "build-system": data.get("build-system"), **project}
    return {key: value for key, value in found.items() if value}


def _rust(data: dict[str, Any]) -> dict[str, Any]:
    """All but dependencies from the registry and the package's own words."""
    found = {key: value for key, value in data.items() if "dependencies" not in key and key != "package"}
    for key, needs in data.items():
        if "dependencies" in key:
            for package, need in needs.items():
                if isinstance(need, dict) and {"path", "git"} & set(need):
                    found[f"{key} {package}"] = need
    package = data.get("package", {})
    kept = {key: package[key] for key in ("build", "autotests", "edition", "links", "default-run") if key in package}
    return {key: value for key, value in {**found, "package": kept}.items() if value}
