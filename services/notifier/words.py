"""What notices say: written with detail, and spoken in 8 to 16 words that a voice can pronounce. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from schemas.notify import SEVERITIES, Severity
from services.notifier.decide import Item
from services.notifier.kinds import ENDS, is_small_talk

FEWEST, MOST = 8, 16
"""Words of what is spoken (CONTRACTS C26)."""
LINES = 12
"""Things that a written message names one by one; the rest are counted."""
LONGEST = 500
"""Characters that the voice server takes."""

_UNSPEAKABLE = re.compile(r"[;&|<>`$\\*_#~\[\]{}()\"“”^=]+")
_PADDING = ("Nightshift", "goes", "on", "by", "itself", "until", "you", "hear", "more")

WRITTEN = {
    "task_started": "started {task} {title}",
    "task_completed": "verified {task} {title} after {duration}",
    "task_failed": "FAILED {task} {title}: {reason}",
    "attempt_failed": "attempt {attempts} of {task} {title} failed: {reason}",
    "phase_completed": "phase {phase} is complete",
    "execution_completed": "COMPLETED: {done} of {total} tasks are verified after {duration}",
    "execution_failed": "FAILED after {duration}: {reason}; {done} of {total} tasks are verified",
    "execution_cancelled": "CANCELLED after {duration}; {done} of {total} tasks are verified",
    "health_warning": "health: {task} {reason}",
    "progress": "{done} of {total} tasks are verified after {duration}",
    "escalation": "NEEDS HELP {task} {title} after {attempts} attempts: {reason}",
    "standstill": "STANDS STILL: {reason}; {done} of {total} tasks are verified",
    "approval": "NEEDS YOUR WORD on {task} {title}: {reason}",
    "paused": "paused: {reason}",
    "rolled_back": "rolled back: {reason}",
    "plan_rejected": "the plan was rejected: {reason}",
    "fault": "the engine gave up a reaction: {reason}",
    "test": "this is a test; the channel works",
}
RECOMMENDED = {
    "escalation": "Tasks that wait for it: {waiting}. Look: nightshift logs {execution} {task}. "
    "Then: nightshift retry {execution} {task}, or nightshift cancel {execution}.",
    "standstill": "Look: nightshift report {execution}. "
    "Then: nightshift retry {execution}, or nightshift cancel {execution}.",
    "approval": "Answer: nightshift approve {execution} {task}, or nightshift deny {execution} {task}.",
    "paused": "Go on: nightshift resume {execution}.",
    "execution_failed": "Look: nightshift report {execution}. Again: nightshift retry {execution}.",
    "fault": "Look: nightshift doctor.",
}
"""What a person can do about it."""

SPOKEN = {
    "task_started": ("Task {title} of plan {plan} has started and is running now", ("title", "plan")),
    "task_completed": ("Task {title} of plan {plan} is complete and verified", ("title", "plan")),
    "task_failed": ("Attention please, task {title} of plan {plan} has failed", ("title", "plan")),
    "attempt_failed": ("An attempt at task {title} of plan {plan} has failed", ("title", "plan")),
    "phase_completed": ("Phase {phase} of plan {plan} is complete and verified", ("phase", "plan")),
    "execution_completed": ("Plan {plan} is complete, {done} of {total} tasks are verified", ("plan",)),
    "execution_failed": ("Plan {plan} has failed, {done} of {total} tasks are verified", ("plan",)),
    "execution_cancelled": ("Plan {plan} was cancelled, {done} of {total} tasks are verified", ("plan",)),
    "health_warning": ("Health warning for task {title} of plan {plan}, please look", ("title", "plan")),
    "progress": ("Plan {plan} is running, {done} of {total} tasks are verified", ("plan",)),
    "escalation": ("Plan {plan} needs your help with task {title} now", ("title", "plan")),
    "standstill": ("Plan {plan} stands still and needs your help to go on", ("plan",)),
    "approval": ("Plan {plan} needs your word on task {title} now", ("title", "plan")),
    "paused": ("Plan {plan} is paused until somebody resumes it again", ("plan",)),
    "rolled_back": ("Plan {plan} was rolled back to an earlier checkpoint", ("plan",)),
    "plan_rejected": ("A plan was rejected, please look at its problems", ()),
    "fault": ("Nightshift itself gave up on plan {plan}, please run doctor", ("plan",)),
    "test": ("This is a test of Nightshift, and this channel works well", ()),
}
COUNTED = {
    "task_started": ("task started", "tasks started"), "task_completed": ("task verified", "tasks verified"),
    "task_failed": ("task failed", "tasks failed"), "attempt_failed": ("attempt failed", "attempts failed"),
    "phase_completed": ("phase complete", "phases complete"),
    "execution_completed": ("plan complete", "plans complete"),
    "execution_failed": ("plan failed", "plans failed"), "execution_cancelled": ("plan cancelled", "plans cancelled"),
    "health_warning": ("health warning", "health warnings"), "progress": ("progress report", "progress reports"),
    "escalation": ("call for help", "calls for help"),
    "standstill": ("plan at a standstill", "plans at a standstill"), "approval": ("open question", "open questions"),
    "paused": ("plan paused", "plans paused"), "rolled_back": ("rollback", "rollbacks"),
    "plan_rejected": ("plan rejected", "plans rejected"), "fault": ("engine fault", "engine faults"),
    "test": ("test", "tests"),
}  # fmt: skip
"""A kind of notice as a noun, for one and for several."""


def severest(items: Sequence[Item]) -> Severity:
    """The worst severity among them."""
    return max((item.severity for item in items), key=SEVERITIES.index)


def written(item: Item) -> str:
    """One thing, in one line; a rule's own template outranks ours."""
    fields = item.fields if item.fields.get("title") != item.task else {**item.fields, "title": ""}
    text = (item.template or WRITTEN[item.kind]).format_map(fields)
    return " ".join(text.split()).replace(" : ", ": ").replace(" ,", ",")


def title(items: Sequence[Item]) -> str:
    """The plan, or how many there are."""
    plans = list(dict.fromkeys(item.fields.get("plan", "") for item in items))
    return f"Nightshift: {plans[0] if len(plans) == 1 else f'{len(plans)} plans'}"


def essential(items: Sequence[Item]) -> list[Item]:
    """Without the small talk of executions that ended: what they did last is in what is said about the end."""
    ended = {item.execution for item in items if item.kind in ENDS}
    return [i for i in items if i.execution not in ended or not is_small_talk(i.kind)]


def text(items: Sequence[Item]) -> str:
    """Everything, the severest first; what is too much is counted."""
    if len(items) == 1:
        item = items[0]
        advice = RECOMMENDED.get(item.kind, "").format_map(item.fields) if item.template is None else ""
        return f"{written(item)}\n{advice}".strip()
    several = len({item.execution for item in items}) > 1
    ranked = sorted(items, key=lambda i: (-SEVERITIES.index(i.severity), i.at_ns))
    shown = [f"- {i.fields.get('plan', '') + ': ' if several else ''}{written(i)}" for i in ranked[:LINES]]
    left = [f"… and {len(items) - LINES} more"] if len(items) > LINES else []
    advised = next((i for i in ranked if i.kind in RECOMMENDED and i.template is None), None)
    last = [RECOMMENDED[advised.kind].format_map(advised.fields)] if advised is not None else []
    return "\n".join([counted(items), *shown, *left, *last])


def counted(items: Sequence[Item], most: int | None = None) -> str:
    """How many of each kind, the severest first."""
    counts = Counter(i.kind for i in sorted(items, key=lambda i: -SEVERITIES.index(i.severity)))
    return ", ".join(f"{n} {COUNTED[kind][n != 1]}" for kind, n in list(counts.items())[:most])


def speech(items: Sequence[Item]) -> str:
    """8 to 16 words."""
    if len(items) == 1:
        return _one(items[0])
    plans = list(dict.fromkeys(item.fields.get("plan", "") for item in items))
    fields = {"plan": plans[0] if len(plans) == 1 else "", "what": counted(items, 2).replace(", ", " and ")}
    start = "Plan {plan} reports" if len(plans) == 1 else f"{len(plans)} plans report"
    return _fit(f"{start} {{what}} in the last minute", fields, ("plan",))


def _one(item: Item) -> str:
    if item.template is not None:
        return _fit("{text}", {"text": written(item)}, ("text",))
    sentence, flexible = SPOKEN[item.kind]
    fields = dict(item.fields)
    if not fields.get("title"):
        sentence = sentence.replace(" with task {title}", "").replace(" on task {title}", "")
        sentence = sentence.replace("task {title} of ", "").replace("Task {title} of ", "")
    return _fit(sentence, fields, tuple(name for name in flexible if f"{{{name}}}" in sentence))


def _fit(sentence: str, fields: dict[str, str], flexible: Sequence[str]) -> str:
    """Fill a sentence, shortening what is flexible so that all of it has the right number of words."""
    clean = {name: speakable(value).split() for name, value in fields.items()}
    fixed = {name: " ".join(words) for name, words in clean.items() if name not in flexible}
    base = len(sentence.format_map({**fixed, **dict.fromkeys(flexible, "")}).split())
    room = dict.fromkeys(flexible, 0)
    free = MOST - base
    while free > 0 and any(room[n] < len(clean.get(n, ())) for n in flexible):
        name = min((n for n in flexible if room[n] < len(clean.get(n, ()))), key=room.__getitem__)
        room[name] += 1
        free -= 1
    filled = {**fixed, **{n: " ".join(clean.get(n, [])[: room[n]]) for n in flexible}}
    words = sentence.format_map(filled).split()[:MOST] or ["Nightshift", "has", "news"]
    if len(words) < FEWEST:
        words[-1] += "."
        words += _PADDING[: max(FEWEST - len(words), 5)]
    spoken = " ".join(words)[: LONGEST - 1].rstrip(".,")
    return f"{spoken[0].upper()}{spoken[1:]}."


def speakable(text: str) -> str:
    """The text without what the voice server strips or cannot pronounce; words of at most 24 characters."""
    plain = _UNSPEAKABLE.sub(" ", text)
    return " ".join(word[:24] for word in plain.split() if any(c.isalnum() for c in word))
