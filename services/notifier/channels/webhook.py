"""A webhook: the message as JSON, signed with a shared secret so that the receiver knows that it is ours and fresh.

``Nightshift-Signature: v1=<hex>`` is HMAC-SHA256 over ``<Nightshift-Timestamp>.<body>``; the receiver computes it over
the bytes it got, compares in constant time, and refuses timestamps (seconds since 1970) that are minutes old.
"""

from __future__ import annotations

import hashlib
import hmac
import time

import msgspec

from services.notifier.channels import Message
from services.notifier.channels.http import request


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What ``Nightshift-Signature`` has to be."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={mac.hexdigest()}"


class Webhook:
    """Posts to one URL."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.secret = secret

    def send(self, message: Message, timeout: float) -> None:
        """Post it; 2xx means that it was taken."""
        body = msgspec.json.encode(message.body())
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Nightshift-Notice": message.id,
            "Nightshift-Timestamp": stamp,
            "Nightshift-Signature": signature(self.secret, stamp, body),
        }
        request(self.url, body, headers=headers, timeout=timeout)
