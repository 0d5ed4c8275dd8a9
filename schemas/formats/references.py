"""References from one task to others: clauses, lists, ranges, and what they resolve to (FORMATS 2.5)."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping

_Natural = tuple[tuple[int, int, str], ...]

_NONE_WORDS = """
none nothing nil null n/a na no - – — -- [] () {} no-dependencies no-dependency independent not-applicable
no-deps none-yet no-prerequisites no-blockers
"""
_NONE = frozenset(_NONE_WORDS.split())
_CLAUSE = re.compile(
    r"(?<![\w-])(?:(depends[ \t]+(?:up)?on|depends_on|requires|blocked[ \t_-]by|waits[ \t]+for)|"
    r"dependenc(?:y|ies)|required|prerequisites?|needs|after)\b[*_`]{0,3}[ \t]*(:?)[*_`]{0,3}[ \t]*",
    re.IGNORECASE,
)
"""The second kind of keyword is too common in prose to count without its colon."""
_NOUN = re.compile(
    r"(?:phases?|tasks?|plans?|steps?|stor(?:y|ies)|milestones?|epics?|issues?|sections?|waves?|items?|subtasks?)"
    r"[ \t#:]+(?=\S)",
    re.IGNORECASE,
)
_SPLIT = re.compile(r"[,;&\n]|(?<![\w-])and(?![\w-])|(?<![\w-])plus(?![\w-])|(?<= )\+(?= )", re.IGNORECASE)
_RANGE_MARKS = re.compile(r"\.\.\.?|…|–|—|-|[ \t](?:to|through|thru)[ \t]", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_ID_FIRST = re.compile(r"[A-Za-z]{0,12}[-_]?\d[\w.\-/]*")
_LOCAL = re.compile(r"[A-Za-z_]+[-_ ]?(?=\d)")
_RENAMED = re.compile(r"[A-Za-z_]+[-_]\d")


def drop_parentheses(text: str) -> str:
    """The text without what stands in parentheses; an unclosed one is dropped to the end."""
    if "(" not in text and "（" not in text:
        return text
    kept, depth = [], 0
    for character in text:
        if character in "(（":
            depth += 1
        elif character in ")）":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(character)
    return "".join(kept)


def is_none(text: str) -> bool:
    """The text says that there are no dependencies: "None", "Nothing (parallel to Phase 1-2)", "n/a", a dash, ""."""
    bare = drop_parentheses(text).strip().strip("*_`\"'. ").casefold()
    if not bare or "-".join(bare.split()) in _NONE:
        return True
    return bare.split(maxsplit=1)[0].rstrip(",.;:—–-") in ("none", "nothing", "n/a")


def dependency_clauses(text: str, *, colon: bool = False) -> list[str]:
    """What follows "depends on", "Dependencies:", "Requires" and the like, each up to its full stop.

    With ``colon``, only keywords that are followed by a colon count. A keyword in parentheses ends with them. Numbers
    elsewhere in prose are not references.
    """
    found = []
    position = 0
    while match := _CLAUSE.search(text, position):
        start = position = match.end()
        if not match.group(2) and (colon or not match.group(1)):
            continue
        end = _clause_end(text, start)
        clause = text[start:end].strip(" \t*_")
        if clause:
            found.append(clause)
        position = max(end, start)
    return found


def _clause_end(text: str, start: int) -> int:
    """At the full stop (not one inside an id), the line's end, or the bracket that closes what began before."""
    depth = 0
    for index in range(start, len(text)):
        character = text[index]
        if character in "([（":
            depth += 1
        elif character in ")]）":
            depth -= 1
            if depth < 0:
                return index
        elif depth == 0 and (character == "\n" or (character in ".。;" and not text[index + 1 : index + 2].strip())):
            return index
    return len(text)


def references(text: str) -> list[str]:
    """The single references in a clause or list: parentheses dropped, split, nouns and quotes taken off.

    "Phase 40 (independent of 41)" gives ``40``; "Tasks 3, 4 and 7-9" gives ``3``, ``4``, ``7-9``; "Nothing" gives none.
    """
    if is_none(text):
        return []
    bare = drop_parentheses(text).strip()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    parts = []
    for part in _SPLIT.split(bare):
        cleaned = _clean(part)
        if cleaned and not is_none(cleaned):
            parts.append(cleaned)
    return list(dict.fromkeys(parts))


def _clean(part: str) -> str:
    text = part.strip().strip("\"'`*_[]#").strip().rstrip(".:;").strip()
    noun = _NOUN.match(text)
    return text[noun.end() :].strip().strip("\"'`*") if noun else text


class Ids:
    """The ids that references may mean, in file order, indexed so that resolving takes constant time.

    ``groups`` names the phase or parent of an id; ``titles`` lets words be understood ("1.3 Services", "Setup").
    """

    def __init__(
        self, ids: Iterable[str], *, titles: Mapping[str, str] | None = None, groups: Mapping[str, str] | None = None
    ) -> None:
        self.order = {name: index for index, name in reversed(list(enumerate(ids)))}
        self.names = sorted(self.order, key=self.order.__getitem__)
        self.order = {name: place for place, name in enumerate(self.names)}
        self._shapes: dict[tuple[tuple[int, str], ...], list[tuple[_Natural, int]]] | None = None
        self.groups = dict(groups or {})
        self._exact = {_nfc(name): name for name in reversed(self.names)}
        self._padded = _first(self.names, _unpadded)
        self._numbered = _unique(self.names, _numbers_only)
        self._titles = _unique(self.names, lambda name: _words((titles or {}).get(name, "")))

    def __contains__(self, name: str) -> bool:
        return name in self.order

    def find(self, reference: str, context: str | None = None, *, words: bool = True) -> str | None:
        """One id, in the order of FORMATS 2.5; None if nothing fits. ``words``: titles and "1.3 Services" as well."""
        text = _nfc(reference.strip())
        if not text:
            return None
        if text in self._exact:
            return self._exact[text]
        for local in self._local(text, context):
            found = self._exact.get(local) or self._padded.get(_unpadded(local))
            if found is not None:
                return found
        padded = self._padded.get(_unpadded(text))
        if padded is not None:
            return padded
        if " " not in text and (_RENAMED.match(text) or text[:1].isdigit()):
            renamed = self._numbered.get(_numbers_only(text))
            if renamed is not None and (text[:1].isdigit() or not renamed[:1].isdigit()):
                return renamed
        return self._by_words(text, context) if words else None

    def _by_words(self, text: str, context: str | None) -> str | None:
        titled = self._titles.get(_words(text))
        if titled is not None:
            return titled
        first = _ID_FIRST.match(text)
        if first and first.end() < len(text) and text[first.end()] in " :\t":
            return self.find(first.group().rstrip(".-/"), context)
        return None

    def _local(self, text: str, context: str | None) -> list[str]:
        """Full ids that a short form may stand for, from where it is written."""
        if context is None:
            return []
        prefixes = [self.groups[context]] if context in self.groups else []
        for separator in ("/", ".", "-"):
            head, found, _ = context.rpartition(separator)
            if found:
                prefixes.append(head)
        return [prefix + separator + text for prefix in prefixes for separator in ("/", "-", ".")]

    def between(self, first: str, last: str) -> list[str]:
        """The ids from one to another, in file order; the ends need not exist themselves."""
        low, high = natural_key(first), natural_key(last)
        if not low or _shape(low) != _shape(high) or low > high:
            return []
        if self._shapes is None:
            self._shapes = {}
            for name in self.names:
                key = natural_key(name)
                self._shapes.setdefault(_shape(key), []).append((key, self.order[name]))
            for same in self._shapes.values():
                same.sort()
        same = self._shapes.get(_shape(low), [])
        inside = same[bisect_left(same, (low, -1)) : bisect_right(same, (high, len(self.names)))]
        return [self.names[place] for place in sorted(place for _, place in inside)]


def resolve(reference: str, ids: Ids | Iterable[str], *, context: str | None = None) -> list[str]:
    """The ids that one reference means: one, several for a range or "a/b", none if it resolves to nothing.

    ``context`` is the id of the task that holds the reference, for short forms.
    """
    known = ids if isinstance(ids, Ids) else Ids(ids)
    single = known.find(reference, context, words=False)
    if single is not None:
        return [single]
    text = reference.strip()
    for mark in _RANGE_MARKS.finditer(text[:200]):
        first, last = _clean(text[: mark.start()]), _clean(text[mark.end() : 200])
        if not first or not last or not _DIGITS.search(first) or not _DIGITS.search(last):
            continue
        found = _range(known, first, last, context)
        if found:
            return found
    if "/" in text:
        parts = [known.find(_clean(part), context) for part in text.split("/")[:50]]
        if all(part is not None for part in parts):
            return [part for part in parts if part is not None]
    worded = known.find(reference, context)
    return [worded] if worded is not None else []


def _range(ids: Ids, first: str, last: str, context: str | None) -> list[str]:
    begin, end = ids.find(first, context), ids.find(last, context)
    if end is None and begin is not None and last.isdigit():  # EXTRACT-01..07
        digits = list(_DIGITS.finditer(begin))
        last = begin[: digits[-1].start()] + last
        end = ids.find(last, context)
    if begin is not None and end is not None and ids.order[begin] <= ids.order[end]:
        found = ids.between(begin, end)
        return found if begin in found and end in found else ids.names[ids.order[begin] : ids.order[end] + 1]
    return ids.between(begin or first, end or last)


def natural_key(name: str) -> _Natural:
    """Sorts 2 before 2.1 before 2.10 before 3, and 1.9 before 1.10; text compares without case."""
    parts: list[tuple[int, int, str]] = []
    position = 0
    for found in _DIGITS.finditer(name[:400]):
        if found.start() > position and (word := name[position : found.start()].casefold().strip(" .-_/")):
            parts.append((1, 0, word))
        parts.append((0, int(found.group()[:40]), ""))
        position = found.end()
    if position < len(name) and (word := name[position:400].casefold().strip(" .-_/")):
        parts.append((1, 0, word))
    return tuple(parts)


def _shape(key: _Natural) -> tuple[tuple[int, str], ...]:
    """The words around the numbers: only names of one shape stand in a row."""
    return tuple((kind, word) for kind, _, word in key)


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _unpadded(text: str) -> str:
    """Without leading zeros in any number and without case."""
    return _DIGITS.sub(lambda found: found.group().lstrip("0") or "0", _nfc(text)).casefold()


def _numbers_only(text: str) -> str:
    """The id without its leading word: ``task-308.02`` and ``BACK-308.2`` give ``308.2``."""
    found = _LOCAL.match(text)
    return _unpadded(text[found.end() :] if found else text)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()[:200])) if text else ""


def _first(names: list[str], key: Callable[[str], str]) -> dict[str, str]:
    return {key(name): name for name in reversed(names) if key(name)}


def _unique(names: list[str], key: Callable[[str], str]) -> dict[str, str]:
    """Only keys that belong to a single id."""
    found: dict[str, str | None] = {}
    for name in names:
        word = key(name)
        if word:
            found[word] = None if word in found else name
    return {word: name for word, name in found.items() if name is not None}
