"""What leaves holds no secret, however it is spelled and split; what holds none is left alone."""

from __future__ import annotations

import base64
import random
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.secrets.redactor import Redactor
from tests.spellings import SPELLINGS

TOKEN = "ghp_Zk3%fP9/+q&x=Wv81mTt\"LzQ7rA'2b\\N0$cYd Ke"
ENGLISH = "The quick brown fox; 100% of {it} & <b>more</b> = \\o/ at https://example.org/?q=1%20a&b=\u00e9\n"

ALPHABET = st.sampled_from([chr(number) for number in range(0x20, 0x7F)] * 3 + ["é", "ß", "☃", "🔑"])
SECRETS = (
    st.text(ALPHABET, min_size=6, max_size=24).map(str.strip).filter(lambda s: len(s) >= 6 and len({*s.lower()}) > 2)
)
EXAMPLES = settings(max_examples=60, deadline=None)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def streamed(redactor: Redactor, chunks: list[bytes]) -> bytes:
    screen = redactor.screen()
    return b"".join([screen.feed(chunk) for chunk in chunks] + [screen.close()])


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", [TOKEN, "hunter2!", "pass wörd ☃ 🔑 key", "-\\\\\\x41\\\\'\\\"\\"])
def test_every_spelling_is_found(spelling: str, secret: str) -> None:
    redactor = Redactor({"TOKEN": secret}.items())
    spelled = SPELLINGS[spelling](secret)
    cleaned = redactor.clean(b"before " + spelled + b" after")
    assert b"[secret TOKEN]" in cleaned
    assert spelled not in cleaned
    assert cleaned.startswith(b"before ")
    assert cleaned.endswith(b" after")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_byte_by_byte_is_as_good_as_whole(spelling: str) -> None:
    redactor = Redactor({"TOKEN": TOKEN, "OTHER": "another-one"}.items())
    data = (
        b"x" + SPELLINGS[spelling](TOKEN) + b" and " + SPELLINGS[spelling]("another-one") + SPELLINGS[spelling](TOKEN)
    )
    assert streamed(redactor, [data[i : i + 1] for i in range(len(data))]) == redactor.clean(data)


@EXAMPLES
@given(st.data())
def test_any_split_gives_the_same(data: st.DataObject) -> None:
    secrets = data.draw(st.lists(SECRETS, min_size=1, max_size=2, unique=True))
    redactor = Redactor((f"S{number}", secret) for number, secret in enumerate(secrets))
    part = st.one_of(
        st.binary(max_size=40),
        st.sampled_from([ENGLISH.encode(), b"%", b"\\", b"&#", b"\n", b"=", b"%25", b"\\u00"]),
        st.builds(
            lambda secret, name: SPELLINGS[name](secret), st.sampled_from(secrets), st.sampled_from(list(SPELLINGS))
        ),
        st.builds(lambda secret, end: secret.encode()[:end], st.sampled_from(secrets), st.integers(1, 40)),
    )
    whole = b"".join(data.draw(st.lists(part, max_size=8)))
    cuts = data.draw(st.lists(st.integers(0, 10_000), max_size=12))
    assert streamed(redactor, split(whole, cuts)) == redactor.clean(whole)


@EXAMPLES
@example("00001ß", "upper case", b"", b"")
@given(SECRETS, st.sampled_from(list(SPELLINGS)), st.binary(max_size=12), st.binary(max_size=12))
def test_no_secret_survives_wherever_it_stands(secret: str, spelling: str, before: bytes, after: bytes) -> None:
    spelled = SPELLINGS[spelling](secret)
    cleaned = Redactor({"S": secret}.items()).clean(before + spelled + after)
    if spelling.startswith("base64"):  # its edges belong to the neighbours
        spelled = spelled.strip()[4:-8]
    if len(spelled) >= 6:
        assert spelled not in cleaned
    assert secret.encode() not in cleaned


@EXAMPLES
@given(st.lists(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode), st.just(ENGLISH.encode()))))
def test_what_holds_no_secret_is_left_alone(parts: list[bytes]) -> None:
    redactor = Redactor({"TOKEN": TOKEN, "OTHER": "correct-horse-battery"}.items())
    whole = b"".join(parts)
    assert redactor.clean(whole) == whole
    assert streamed(redactor, parts) == whole


@EXAMPLES
@given(SECRETS, st.sampled_from(list(SPELLINGS)), st.binary(max_size=12), st.binary(max_size=12))
def test_the_views_miss_nothing_that_the_expressions_find(
    secret: str, spelling: str, before: bytes, after: bytes
) -> None:
    data = before + SPELLINGS[spelling](secret) + after
    redactor = Redactor({"S": secret}.items())
    found = {(span.start, span.stop) for span in redactor.spans(data, len(data))}
    for _, form in redactor.forms:
        assert {match.span(1) for match in form.expression.finditer(data)} <= found


def test_long_secrets_and_keys_of_many_lines() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(random.Random(1).randbytes(240)).decode()
    key += "-----END PRIVATE KEY-----\n"
    token = base64.urlsafe_b64encode(random.Random(2).randbytes(150)).decode()
    redactor = Redactor({"KEY": key, "TOKEN": token}.items())
    lines = key.splitlines()[1:-1]
    for spell in (str.encode, SPELLINGS["base64, one off"], SPELLINGS["JSON"], SPELLINGS["hex"], SPELLINGS["URL"]):
        cleaned = redactor.clean(spell(key) + b"\n--\n" + spell(token))
        for secret in (*lines, token):
            for part in (secret[:40], secret[-40:]):
                assert spell(part)[4:-8] not in cleaned
    assert redactor.clean(b"-----BEGIN PRIVATE KEY-----") == b"-----BEGIN PRIVATE KEY-----"
    assert redactor.clean(lines[3].encode()) == b"[secret KEY]"


def test_markers_name_the_secret_unless_that_shows_another() -> None:
    assert Redactor({"A": "abcdef", "B": "uvwxyz"}.items()).clean(b"1abcdefuvwxyz2ABCDEF") == b"1[secret A]2[secret A]"
    assert Redactor({"MY_TOKEN": "my_token", "X": "ABCDEFG"}.items()).clean(b"my_token abcdefg") == b"*** [secret X]"
    assert Redactor({"A": "secret"}.items()).clean(b"a secret!") == b"a ***!"
    assert Redactor({"A": "abcdef"}.items()).text("→ abcdef \udc80") == "→ [secret A] \ufffd\ufffd\ufffd"
    assert Redactor({}.items()).text("abc") == "abc"


def test_only_what_may_become_a_secret_is_held_back() -> None:
    screen = Redactor({"A": "correct-horse-battery"}.items()).screen()
    assert screen.feed(b"an ordinary line.\n") == b"an ordinary line.\n"
    assert screen.feed(b"a prompt> ") == b"a prompt> "
    assert screen.feed(b"it is correct-ho") == b"it is "
    assert screen.feed(b"mage\n" + b"." * 2000) == b"correct-homage\n" + b"." * 2000


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    redactor = Redactor({"A": "\\a\\a\\a\\a\\a\\a\\a\\a\\%25%25&&amp;==", "B": "aaaaaaaaaaaaaaaaaaaaaaaab"}.items())
    for data in (b"\\" * 20_000, b"a" * 20_000, b"\\a" * 10_000, b"%25" * 7000, b"&amp;" * 4000, b"\\x61" * 5000):
        assert len(redactor.clean(data)) == len(data)
