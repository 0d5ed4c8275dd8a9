"""An account for every service: the same permissions behind service imports, so that no reply subject leads anywhere.

Inside one account a reply subject is not checked against anybody's permissions (hazard H1). Whatever passes through a
service import gets ``_R_.…`` as its reply, known to the server alone; so a service that was taken over can neither put
an answer into the log nor speak on its tail. Clients see no difference: subjects, inboxes and permissions stay.
"""

from __future__ import annotations

from typing import Any

ENGINE = "ENGINE"
"""The account that holds the log."""
ISOLATED = True
"""Whether servers are arranged so unless somebody says otherwise."""
TOPICS = ("qry.", "learn.")
"""What questions begin with; each is answered by the account of whoever subscribes to it."""
SEVERAL = ("$JS.API.DIRECT.GET.", "$JS.API.CONSUMER.MSG.NEXT.")
"""Requests with more than one answer."""
REMEMBERED = "60s"
"""How long the server leads further answers of those back; longer than a pull stays open."""


def account_of(user: str) -> str:
    """The account of a service's own."""
    return f"S_{user}"


def isolate(accounts: dict[str, Any], *, stays: str) -> dict[str, Any]:
    """The same accounts with every user of ENGINE but ``stays`` moved to one of its own. Pure."""
    engine = accounts[ENGINE]
    questions = [offer for offer in engine["exports"] if _topic(offer.get("service", ""))]
    offers = {next(iter(o.items())): o for o in map(dict, engine["exports"]) if o not in questions}
    moved: dict[str, Any] = {}
    answering: dict[str, str] = {}
    asking: dict[str, list[str]] = {topic: [] for topic in TOPICS}

    def bring(kind: str, subject: str, account: str) -> dict[str, Any]:
        """Export to one more account; returns what that one imports."""
        offer = offers.setdefault((kind, subject), {kind: subject, "accounts": []})
        offer["accounts"] = [*offer["accounts"], account]
        if subject.startswith(SEVERAL):
            offer |= {"response_type": "stream", "response_threshold": REMEMBERED}
        return {kind: {"account": ENGINE, "subject": subject}}

    for user in engine["users"]:
        if user["user"] == stays:
            continue
        account = account_of(user["user"])
        publishes = user["permissions"]["publish"]["allow"]
        subscribes = user["permissions"]["subscribe"]["allow"]
        imports = [
            bring("service", subject, account) for subject in publishes if not subject.startswith(("_", *TOPICS))
        ]
        imports += [bring("stream", subject, account) for subject in subscribes if subject.startswith("tail.")]
        for topic in dict.fromkeys(filter(None, map(_topic, publishes))):
            asking[topic].append(account)
        answering |= {topic: account for topic in map(_topic, subscribes) if topic}
        moved[account] = {"users": [user], "imports": imports}

    for topic, answerer in answering.items():
        own = [offer for offer in questions if _topic(offer["service"]) == topic]
        moved[answerer]["exports"] = [*own, {"service": f"{topic}>", "accounts": asking[topic]}]
        for account in asking[topic]:
            moved[account]["imports"].append({"service": {"account": answerer, "subject": f"{topic}>"}})
    changed = {name: _ask_there(account, answering) for name, account in accounts.items() if name != ENGINE}
    remaining = [user for user in engine["users"] if user["user"] == stays]
    return changed | {ENGINE: engine | {"users": remaining, "exports": list(offers.values())}} | moved


def _ask_there(account: dict[str, Any], answering: dict[str, str]) -> dict[str, Any]:
    """An account whose questions go to those who answer them."""
    if "imports" not in account:
        return account
    imports = [
        {"service": item["service"] | {"account": answering[topic]}}
        if (topic := _topic(item.get("service", {}).get("subject", ""))) in answering
        else item
        for item in account["imports"]
    ]
    return account | {"imports": imports}


def _topic(subject: str) -> str:
    """What a question begins with; empty for any other subject."""
    return next((topic for topic in TOPICS if subject.startswith(topic)), "")
