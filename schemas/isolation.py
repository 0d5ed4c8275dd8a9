"""What a plan may say about the sandbox of its tasks: limits, network, and paths."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from schemas.grants import Isolation, TaskLimits
from schemas.plan_parts import Part, Seconds, Texts

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)


def size(value: object) -> object:
    """Bytes: a number, or a text such as 512MiB or 2GB; `none` is 0, which stands for no limit. Raises ValueError."""
    if isinstance(value, str):
        if value.strip().lower() == "none":
            return 0
        found = _SIZE.fullmatch(value.strip())
        if found is None or found[2].lower() not in _UNITS:
            raise ValueError(f"{value!r} is no size; write it like 512MiB, 2GB, or none")
        return int(float(found[1]) * _UNITS[found[2].lower()])
    return value


def _number(value: object) -> object:
    return 0 if isinstance(value, str) and value.strip().lower() == "none" else value


def _absolute(paths: list[str]) -> list[str]:
    for path in paths:
        if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise ValueError(f"{path!r} is no absolute path without '..'; write it out, like /srv/data")
    return paths


def _ports(value: object) -> object:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


_NONE: dict[str, Any] = {"const": "none"}
Size = Annotated[
    int, BeforeValidator(size), Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}], "examples": ["512MiB", "2GB"]}),
]  # fmt: skip
Count = Annotated[
    int, BeforeValidator(_number), Field(ge=0), WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _NONE]})
]
Amount = Annotated[
    float, BeforeValidator(_number), Field(ge=0, le=1024),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": 1024}, _NONE]}),
]  # fmt: skip
Time = Annotated[Seconds, BeforeValidator(_number), Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Network = Annotated[Literal["none", "host"] | list[Port], BeforeValidator(_ports)]
Paths = Annotated[Texts, AfterValidator(_absolute)]


class LimitsModel(Part):
    """What one task may use, all its processes together; `none` lifts a limit."""

    memory: Size | None = None
    """Memory, file cache included: 512MiB, 2GB; 2 GiB by default. Without control groups: of each process."""
    cpu: Amount | None = None
    """Processors' worth of time, such as 0.5 or 2; no limit by default."""
    cpu_time: Time | None = None
    """Processor time of any single process; no limit by default."""
    processes: Count | None = None
    """Processes and threads at a time; 512 by default."""
    file_size: Size | None = None
    """The largest that any single file may become; 2 GiB by default."""
    open_files: Count | None = None
    """Open files of any single process; as many as the engine itself by default."""


class Isolated(Part):
    """What tasks may use and reach."""

    limits: LimitsModel = LimitsModel()
    """What one task may use: memory, cpu, cpu_time, processes, file_size, open_files."""
    network: Network | None = None
    """`none` (the default), `host`, or the TCP ports that may be connected to (sandbox `landlock` only)."""
    read: Paths = Field(default_factory=list)
    """Absolute paths that may be read besides system and tool folders. Never the engine's state or a user's secrets."""
    write: Paths = Field(default_factory=list)
    """Absolute paths that may be written besides the workspace."""


def isolation_of(model: Isolated) -> Isolation:
    """What a policy or a task says, as a value."""
    limits = TaskLimits(**model.limits.model_dump())
    ports = tuple(model.network) if isinstance(model.network, list) else ()
    network = None if isinstance(model.network, list) else model.network
    return Isolation(limits=limits, network=network, ports=ports, read=tuple(model.read), write=tuple(model.write))


def document_of(isolation: Isolation) -> dict[str, Any]:
    """The same as it is written in a native plan; nothing for what is not said."""
    limits = {name: value for name, value in asdict(isolation.limits).items() if value is not None}
    network = isolation.network or list(isolation.ports)
    found = {"limits": limits, "network": network, "read": list(isolation.read), "write": list(isolation.write)}
    return {name: value for name, value in found.items() if value}
