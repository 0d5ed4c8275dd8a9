"""The cache of folds: what is dropped is only what nobody needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from events import RetryRequested
from events.fold import ExecutionFold
from services import folds as module
from services.folds import Folds
from tests.controls import EXECUTION_ID, TENANT, plan, task
from tests.spec import failed, given, ready, running, started

NO_LOG: Any = None


def test_an_execution_that_is_opened_again_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDED_KEPT", 1)
    only = plan(task("1"))
    only = replace(only, policy=replace(only.policy, max_attempts=1))
    history = given(only, running, ready("1"), started("1"), failed("1")).history
    history.settle()
    assert history.fold.state == "failed"
    ended = list(history.records)
    history.ask(RetryRequested(request="0191b2c3-0000-7000-8000-000000000001"))
    history.settle()
    assert history.fold.state == "running"
    cache = Folds(NO_LOG)
    mine, *others = [(TENANT, EXECUTION_ID), (TENANT, "other-1"), (TENANT, "other-2"), (TENANT, "other-3")]
    for key in (mine, *others):
        cache._folds[key] = ExecutionFold(*key)
    for recorded in history.records:
        cache._take(recorded)
    for _, execution in others:
        for recorded in ended:
            cache._take(replace(recorded, execution=execution))
    assert mine in cache._folds, "it is in use"
    assert others[0] not in cache._folds, "ended ones beyond the bound are dropped"
