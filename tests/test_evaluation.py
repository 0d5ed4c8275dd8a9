"""Rating, trends, times and measures through the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli import Nightshift

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]


def test_people_rate_and_everybody_sees_the_scores(tmp_path: Path) -> None:
    nightshift = Nightshift(tmp_path / "home")
    plan = tmp_path / "plan.json"
    tasks = [
        {"id": "good", "run": "true", "verify": [{"command": "true"}]},
        {"id": "late", "run": 'test "$NIGHTSHIFT_ATTEMPT" = 2', "needs": ["good"]},
    ]
    plan.write_text(
        json.dumps({"plan": "Scored, = and, commas", "policy": {"backoff": {"first": "100ms"}}, "tasks": tasks})
    )
    nightshift("run", plan)
    nightshift("up", "--detach")
    try:
        execution = nightshift.json("status")[0]["execution"]
        assert (
            "RatingRecorded: notes=neat rating=8"
            in nightshift("rate", execution, "good", "8", "--notes", "neat").stdout
        )
        nightshift("rate", execution, "9")
        refused = nightshift("rate", execution, "good", "11", code=2)
        assert "11 is no rating" in refused.stderr
        trends = {row["score"]: (row["mean"], row["samples"]) for row in nightshift.json("trends")}
        assert trends["rating"] == (8.5, 2)
        assert trends["test_pass_rate"][0] == 1
        assert trends["success_ratio"] == (0.75, 2)
        rows = list(csv.DictReader(io.StringIO(nightshift("times", "--csv").stdout)))
        assert [(r["plan"], r["task"], r["outcome"], r["attempts"]) for r in rows] == [
            ("Scored, = and, commas", "good", "verified", "1"), ("Scored, = and, commas", "late", "verified", "2"),
        ]  # fmt: skip
        (whole,) = nightshift.json("times", "--by", "execution")
        assert (whole["outcome"], whole["tasks"], whole["attempts"]) == ("completed", 2, 3)
        assert whole["seconds"] == pytest.approx(sum(float(r["seconds"]) for r in rows))
        (tenant,) = nightshift.json("times", "--by", "tenant")
        assert (tenant["tenant"], tenant["executions"], tenant["verified"]) == ("default", 1, 2)
        measures = {row["measure"]: row for row in nightshift.json("measures")}
        assert measures["executions_completed"]["met"] is True
        assert measures["rating"]["value"] == 8.5
        assert "executions_completed" in nightshift("measures").stdout
        nightshift("replay", "--check")
    finally:
        nightshift("down")
