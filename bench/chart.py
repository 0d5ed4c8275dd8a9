"""The results as an SVG: one bar a figure, how many times the limit is better; peers beside us where they ran."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, GAP = 900, 230, 18, 8
COLOURS = {"nightshift": "#2457a6", "limit": "#7a7a7a", "dbos": "#b3541e", "prefect": "#6a4c93", "restate": "#2a7f62"}


def svg(workloads: dict[str, dict[str, Any]]) -> str:
    """Each figure with its limit and its peers, every group to its own scale."""
    parts: list[str] = []
    y = 30
    for found in workloads.values():
        bars = [("nightshift", found["value"])]
        if found["limit"]:
            bars.append(("limit", found["limit"]))
        bars += [(peer, measured["value"]) for peer, measured in sorted(found["peers"].items())]
        longest = max(value for _, value in bars) or 1
        parts.append(_text(10, y + BAR - 5, f"{found['name']} ({found['unit']})", bold=True))
        for name, value in bars:
            width = max(1.0, value / longest * (WIDTH - LEFT - 190))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[name]}"/>')
            parts.append(_text(LEFT + width + 6, y + BAR - 5, f"{value:.4g}  {name}"))
            y += BAR + 2
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" font-family="sans-serif">'
    title = _text(10, 18, "Each group has its own scale; the limit was measured in the same run")
    return (
        "\n".join([head, f'<rect width="{WIDTH}" height="{y + 10}" fill="#ffffff"/>', title, *parts, "</svg>"]) + "\n"
    )


def _text(x: float, y: float, said: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12"{weight}>{escape(said)}</text>'
