"""Answer a question somebody wrote in SQL: reading only, within limits, and only what they may see.

Three walls, each enough by itself for what it is for: the database is locked down (no files, no settings); the
question runs in a read-only transaction; and its syntax tree may hold only what is on the lists below. A tenant's
tables are filtered relations of the same names, put in front of the question; a qualified name is refused.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import msgspec

from projections.rows import text

LONGEST = 100_000
"""Characters of a question."""

_NODES = frozenset(
    (
        "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "BASE_TABLE", "SUBQUERY", "JOIN",
        "EXPRESSION_LIST", "EMPTY", "PIVOT", "TABLE_FUNCTION", "ORDER_MODIFIER", "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER", "ORDER_DEFAULT", "ASCENDING", "DESCENDING",
    )
)  # fmt: skip
_SHOW = re.compile(r"\s*show\s+tables\s*;?\s*", re.IGNORECASE)
_DESCRIBE = re.compile(r"\s*describe\s+(\w+)\s*;?\s*", re.IGNORECASE)
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_TABLE_FUNCTIONS = frozenset(("unnest", "range", "generate_series", "json_each", "json_tree"))
_FUNCTIONS = re.compile(
    r"(?!(?:current_date|current_timestamp|pg_typeof)$)(?:current_.*|duckdb_.*|pg_.*|inet_.*|has_.*_privilege|in_search_path"
    r"|query|query_table|getenv|getvariable|nextval|currval|setval|setseed|sleep_ms|stats|write_log|parse_duckdb.*"
    r"|read_.*|.*_scan|glob|json_(?:de)?serialize_.*|json_execute.*|col_description|obj_description|txid_current"
    r"|get_block_size|random|uuid.*|gen_random_uuid|user|session_user|shobj_description|error)",
    re.IGNORECASE,
)


class Refused(ValueError):
    """The question asks for something that is not possible here."""


class TooSlow(TimeoutError):
    """The question took longer than it may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows, ready for JSON; ``truncated`` says that there were more rows than the limit."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


def ask(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    params: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    visible: Sequence[str],
    tenant: str | None,
    limit: int,
    timeout: float,
) -> Answer:
    """Answer a question about the ``visible`` relations; ``tenant`` None sees the rows of all.

    The cursor must be used for nothing else. Raises Refused, TooSlow, or what DuckDB says about a wrong question.
    """
    if _SHOW.fullmatch(sql):
        return Answer(["name"], [[name] for name in visible], truncated=False)
    if (described := _DESCRIBE.fullmatch(sql)) and described[1].lower() in visible:
        found = cursor.execute(f"describe main.{described[1].lower()}").fetchall()
        return Answer(["column", "type"], [[str(name), str(kind)] for name, kind, *_ in found], truncated=False)
    question = _checked(cursor, sql, visible)
    if tenant is not None:
        mine = _literal(tenant)
        views = ", ".join(f"{v} as not materialized (select * from main.{v} where tenant = {mine})" for v in visible)
        question = f"with {views} select * from (\n{question}\n)"
    done, expired = threading.Event(), threading.Event()

    def watch() -> None:
        if not done.wait(timeout):
            expired.set()
            while not done.wait(0.05):
                cursor.interrupt()

    watcher = threading.Thread(target=watch, name="question", daemon=True)
    watcher.start()
    try:
        cursor.execute("begin transaction read only")
        columns = cursor.execute(f"describe {question}", params).fetchall()
        kinds = [str(kind) for _, kind, *_ in columns]
        if any("WITH TIME ZONE" in kind for kind in kinds):
            question = _without_zones(question, kinds)
        found = cursor.execute(question, params).fetchmany(limit + 1)
    except duckdb.InterruptException as error:
        raise TooSlow(f"the question took longer than {timeout:g} s") from error
    finally:
        done.set()
        watcher.join()
    return Answer(
        columns=[str(name) for name, *_ in columns],
        rows=[[friendly(v, k) for v, k in zip(row, kinds, strict=True)] for row in found[:limit]],
        truncated=len(found) > limit,
    )


def _checked(cursor: duckdb.DuckDBPyConnection, sql: str, visible: Sequence[str]) -> str:
    """The one SELECT statement in the text. Raises Refused."""
    if len(sql) > LONGEST:
        raise Refused(f"the question is longer than {LONGEST} characters")
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise Refused("exactly one question at a time")
    (serialized,) = cursor.execute("select json_serialize_sql(?)", [sql]).fetchall()[0]
    try:
        tree = msgspec.json.decode(serialized)
    except RecursionError as error:
        raise Refused("the question is nested too deeply") from error
    if statements[0].type != duckdb.StatementType.SELECT or tree["error"]:
        raise Refused("only questions are possible here: one SELECT statement")
    parts = [node["cte_map"]["map"] for node in _dicts(tree) if "cte_map" in node]
    own = {part["key"].lower() for map in parts for part in map}
    taken = {
        name.lower()
        for (name,) in cursor.execute(
            "select table_name from duckdb_tables() union select view_name from duckdb_views()"
        ).fetchall()
    }
    for name in own:
        if name in taken - set(visible) or not _NAME.fullmatch(name):
            raise Refused(f"a part of a question cannot be called {name}")
    for node in _dicts(tree["statements"]):
        _check(node, {*visible, *own})
    return _bare(sql)


def _bare(sql: str) -> str:
    """A statement without the semicolons and comments behind it, so that it can stand in brackets."""
    raw = sql.encode()
    end = len(raw)
    for offset, kind in reversed(duckdb.tokenize(sql)):
        if kind != duckdb.token_type.comment and raw[offset : offset + 1] != b";":
            break
        end = offset
    return raw[:end].decode()


def _check(node: dict[str, Any], known: set[str]) -> None:
    kind = node.get("type")
    if "class" not in node and isinstance(kind, str) and kind not in _NODES:
        raise Refused(f"only reading is possible here, not {kind.lower().replace('_', ' ')}")
    if kind == "BASE_TABLE":
        path = node.get("qualified_name", {}).get("path", [])
        if node["schema_name"] or node["catalog_name"] or len(path) != 1 or node.get("at_clause"):
            raise Refused(f"there are only these relations, without a schema: {', '.join(sorted(known))}")
        if node["table_name"].lower() not in known:
            raise Refused(f"there is no {node['table_name']}; there are {', '.join(sorted(known))}")
    elif kind == "TABLE_FUNCTION":
        name = node["function"].get("function_name", "").lower()
        if name not in _TABLE_FUNCTIONS:
            raise Refused(f"{name}() is not possible here")
    elif node.get("class") == "FUNCTION" or "function_name" in node:
        name = node.get("function_name", "")
        if _FUNCTIONS.fullmatch(name):
            raise Refused(f"{name}() is not possible here")


def _dicts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a tree, without recursion."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _without_zones(question: str, kinds: list[str]) -> str:
    """The same question with times of the zone UTC, which need no time zone database to be read."""
    names = [f"c{i}" for i in range(len(kinds))]
    columns = [
        f"{name} at time zone 'UTC'"
        if kind == "TIMESTAMP WITH TIME ZONE"
        else (f"to_json({name})" if "WITH TIME ZONE" in kind else name)
        for name, kind in zip(names, kinds, strict=True)
    ]
    return f"select {', '.join(columns)} from (\n{question}\n) as q({', '.join(names)})"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def friendly(value: Any, kind: str = "") -> Any:
    """A value of the database as JSON can carry it; ``kind`` is its type there."""
    match value:
        case str() if kind == "JSON":
            return msgspec.json.decode(value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime.datetime():
            return text(value.replace(tzinfo=None))
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case uuid.UUID():
            return str(value)
        case dict():
            return {str(k): friendly(v) for k, v in value.items()}
        case list() | tuple() | set():
            return [friendly(v) for v in value]
        case _:
            return str(value)
