# mypy: ignore-errors
"""Runs in a Python apart, handed over as text: prints the public names of the named files that have no docstring."""

import ast
import json
import os
import sys


def inside(node, path, prefix):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if child.name.startswith("_"):
            continue
        overloads = any(getattr(d, "id", getattr(d, "attr", "")) == "overload" for d in child.decorator_list)
        name = prefix + child.name
        if ast.get_docstring(child) is None and not overloads:
            kind = "class" if isinstance(child, ast.ClassDef) else "function"
            found.append({"file": path, "rule": "undocumented", "message": kind + " " + name, "line": child.lineno})
        if isinstance(child, ast.ClassDef):
            inside(child, path, name + ".")


found = []
for path in sys.argv[1:]:
    if not os.path.isfile(path) or os.path.islink(path) or os.path.getsize(path) > 1 << 20:
        continue
    with open(path, "rb") as file:
        source = file.read()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        found.append({"file": path, "rule": "unreadable", "message": str(error)[:200], "line": None})
        continue
    if source.strip() and ast.get_docstring(tree) is None:
        found.append({"file": path, "rule": "undocumented", "message": "module", "line": 1})
    inside(tree, path, "")
json.dump(found, sys.stdout)
