"""The merge of rules: the stricter wins, in whatever order, however often, and nothing becomes looser."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.safety.globs import matching
from schemas.safety.installation import Installation
from schemas.safety.model import SafetyModel, as_written, bound, chosen
from schemas.safety.operations import OPERATIONS
from schemas.safety.profiles import DEFAULT, OVERNIGHT, PROFILES, safety_of
from schemas.safety.rules import LOOSEST, ORACLES, STANDS, Safety, stricter
from schemas.settings import BadSettings, Settings
from schemas.values import Policy
from services.safety.branch import branch_refusal

TEXTS = st.lists(st.sampled_from(["src/", "docs/", "*.md", "a", "b"]), unique=True, max_size=3).map(
    lambda found: tuple(sorted(found))
)
LISTS = st.lists(TEXTS, unique=True, max_size=2).map(lambda found: tuple(sorted(found)))
RULES = st.builds(
    Safety,
    operations=st.dictionaries(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(STANDS), max_size=4),
    allowed_paths=LISTS, forbidden_paths=TEXTS, forbidden_words=TEXTS, forbidden_content=TEXTS, commands=LISTS,
    max_lines=st.none() | st.integers(0, 99), min_alignment=st.none() | st.floats(0, 100),
    tests_required=st.booleans(), oracle=st.sampled_from(ORACLES), protected_branches=TEXTS, push=st.booleans(),
)  # fmt: skip
MODELS = st.builds(
    SafetyModel,
    operations=st.dictionaries(st.sampled_from(sorted(OPERATIONS)), st.sampled_from(STANDS), max_size=4),
    allowed_paths=st.none() | TEXTS.map(list), forbidden_paths=TEXTS.map(list), commands=st.none() | TEXTS.map(list),
    max_lines=st.none() | st.integers(0, 99), min_alignment=st.none() | st.floats(0, 100),
    tests_required=st.none() | st.booleans(), oracle=st.none() | st.sampled_from(ORACLES),
    push=st.none() | st.booleans(),
)  # fmt: skip

_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(a: Safety, b: Safety) -> bool:
    """They allow the same: a missing operation and one that may be done are one thing."""
    return as_strict(a, b) and as_strict(b, a)


def as_strict(a: Safety, b: Safety) -> bool:
    """Whatever ``b`` forbids, ``a`` forbids, said without the merge."""
    return (
        all(STANDS.index(a.stand(name)) >= STANDS.index(b.stand(name)) for name in OPERATIONS)
        and set(a.allowed_paths) >= set(b.allowed_paths)
        and set(a.commands) >= set(b.commands)
        and set(a.forbidden_paths) >= set(b.forbidden_paths)
        and set(a.forbidden_words) >= set(b.forbidden_words)
        and set(a.forbidden_content) >= set(b.forbidden_content)
        and set(a.protected_branches) >= set(b.protected_branches)
        and (b.max_lines is None or (a.max_lines is not None and a.max_lines <= b.max_lines))
        and (b.min_alignment is None or (a.min_alignment is not None and a.min_alignment >= b.min_alignment))
        and a.tests_required >= b.tests_required
        and ORACLES.index(a.oracle) >= ORACLES.index(b.oracle)
        and a.push <= b.push
    )


@_PATIENT
@given(RULES, RULES, RULES)
def test_the_order_and_the_number_of_merges_do_not_matter(a: Safety, b: Safety, c: Safety) -> None:
    assert stricter(a, b) == stricter(b, a)
    assert stricter(stricter(a, b), c) == stricter(a, stricter(b, c))
    assert same(stricter(a, a), a)
    assert stricter(stricter(a, b), b) == stricter(a, b)
    assert same(stricter(a, LOOSEST), a)


@_PATIENT
@given(RULES, RULES)
def test_a_merge_is_never_looser_and_no_stricter_than_needed(a: Safety, b: Safety) -> None:
    both = stricter(a, b)
    assert as_strict(both, a)
    assert as_strict(both, b)
    if as_strict(a, b):
        assert same(both, a)


@_PATIENT
@given(MODELS, MODELS, MODELS)
def test_no_plan_gets_round_what_is_insisted_on(plan: SafetyModel, house: SafetyModel, tenant: SafetyModel) -> None:
    insisted = Installation(safety=house, tenants={"acme": {"safety": tenant}}).rules_of("acme")  # type: ignore[dict-item]
    for profile in PROFILES.values():
        merged = stricter(chosen(plan, profile), insisted)
        assert as_strict(merged, bound(house))
        assert as_strict(merged, bound(tenant))


@_PATIENT
@given(MODELS)
def test_a_plan_written_again_has_the_same_rules(plan: SafetyModel) -> None:
    rules = chosen(plan, DEFAULT)
    assert chosen(SafetyModel(**as_written(rules)), DEFAULT) == rules


def test_a_plan_chooses_rows_and_adds_to_lists() -> None:
    rules = chosen(SafetyModel(oracle="allow", max_lines=99, protected_branches=["live"]), DEFAULT)
    assert (rules.oracle, rules.max_lines, rules.stand("push")) == ("allow", 99, "never")
    assert {"live", "main"} <= set(rules.protected_branches)
    assert chosen(None, DEFAULT) == DEFAULT


def test_under_a_strict_profile_a_plan_can_only_be_stricter() -> None:
    loose = SafetyModel(oracle="allow", max_lines=99, operations={"ci": "may"}, push=True)
    assert same(chosen(loose, OVERNIGHT), OVERNIGHT)
    assert same(chosen(None, OVERNIGHT), OVERNIGHT)
    assert chosen(SafetyModel(max_lines=9), OVERNIGHT).max_lines == 9


def test_a_list_that_is_insisted_on_comes_with_its_stand() -> None:
    insisted = bound(SafetyModel(commands=["make"], forbidden_paths=["x"]))
    assert (insisted.stand("command"), insisted.stand("forbidden"), insisted.stand("delete")) == (
        "never", "never", "may",
    )  # fmt: skip
    plan = chosen(SafetyModel(operations={"command": "may", "forbidden": "may"}), DEFAULT)
    assert stricter(plan, insisted).stand("command") == "never"


def test_the_profiles_of_the_contract() -> None:
    assert list(PROFILES) == ["default", "maestro", "build", "overnight"]
    assert (DEFAULT.max_lines, DEFAULT.min_alignment, DEFAULT.allowed_paths) == (None, None, ())
    assert (OVERNIGHT.max_lines, OVERNIGHT.min_alignment, OVERNIGHT.tests_required) == (30, 80, True)
    never = {name for name in OPERATIONS if OVERNIGHT.stand(name) == "never"}
    assert never >= {"push", "secrets", "ignore", "production", "ci"}, "C17: policy only, never per task"
    assert OVERNIGHT.stand("delete") == OVERNIGHT.stand("dependencies") == OVERNIGHT.stand("migrations") == "ask"
    assert as_strict(OVERNIGHT, DEFAULT)
    assert Policy().safety == safety_of("default") == DEFAULT
    with pytest.raises(ValueError, match="no profile 'daytime'; known are default"):
        safety_of("daytime")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"operations": {"fly": "ask"}}, "there is no operation 'fly'"),
        ({"operations": {"ci": "maybe"}}, "'may', 'ask' or 'never'"),
        ({"forbidden_content": ["("]}, "no regular expression"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_mistakes_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SafetyModel(**given)  # type: ignore[arg-type]


def test_rules_come_from_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    (tmp_path / "nightshift.toml").write_text(
        '[safety]\nmax_lines = 50\n[tenants.acme.safety]\nmax_lines = 20\noracle = "refuse"\n[tenants.other]\nx = 1\n'
    )
    rules_of = Settings().safety_rules()
    assert (rules_of("acme").max_lines, rules_of("acme").oracle) == (20, "refuse")
    assert (rules_of("other").max_lines, rules_of("nobody").oracle) == (50, "allow")
    (tmp_path / "nightshift.toml").write_text('[tenants.acme.safety]\nmax_lines = "x"\n')
    with pytest.raises(BadSettings, match=r"tenants\.acme\.safety\.max_lines"):
        Settings().safety_rules()


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        (".env", ".env", True), (".env", "a/b/.ENV", True), (".env", ".environment", False),
        ("*.md", "docs/a.md", True), ("/src/", "src/a/b.py", True), ("/src/", "pkg/src/b.py", False),
        ("src/", "pkg/src/b.py", True), ("src/", "src", False), ("a/*.py", "a/b/c.py", False),
        ("a/**", "a/b/c.py", True), ("**/x", "a/b/x", True), ("a/**/x", "a/x", True), ("a?c", "abc", True),
        ("a?c", "a/c", False), (".github/workflows/", ".github/workflows/ci.yml", True),
        ("requirements*.txt", "requirements-dev.txt", True), ("a[b]", "a[b]", True), ("vendor", "vendor/x.go", True),
    ],
)  # fmt: skip
def test_globs_are_read_as_in_gitignore(glob: str, path: str, matches: bool) -> None:
    assert (matching(path, [glob]) == glob) is matches


def test_what_allows_is_read_narrowly() -> None:
    assert matching("README.md", ["README*"], exact=True)
    assert not matching("README.d/evil.py", ["README*"], exact=True)
    assert not matching("SRC/a.py", ["/src/"], exact=True)
    assert matching("src/a.py", ["src"], exact=True)


def test_a_protected_branch_is_nobodys() -> None:
    assert branch_refusal(DEFAULT, "nightshift/1") == ""
    strict = stricter(DEFAULT, bound(SafetyModel(protected_branches=["nightshift/*"])))
    assert branch_refusal(strict, "nightshift/1") == "its branch nightshift/1 is protected by nightshift/*"
    assert branch_refusal(DEFAULT, "release/2") == "its branch release/2 is protected by release/*"
