"""Posting JSON, with one kind of error. The one door to HTTP of the channels that Apprise does not speak."""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from services.notifier.channels import ChannelError

AGAIN = frozenset({408, 425, 429})
"""Refusals of 4xx that mean "later"."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET somewhere else."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def request(
    url: str, body: bytes | None, *, headers: Mapping[str, str] | None = None, timeout: float, method: str = "POST"
) -> int:
    """Send it and give the status, which is 2xx. Raises ChannelError for anything else; the URL is not in its text."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if _is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    asked = urllib.request.Request(url, body, {"User-Agent": "nightshift", **(headers or {})}, method=method)
    try:
        with opener.open(asked, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            after = error.headers.get("Retry-After", "")
        again = error.code in AGAIN or error.code >= 500
        wait = float(after) if after.isdecimal() else None
        raise ChannelError(f"the server answers {error.code}", again=again, after=wait) from error
    except TimeoutError as error:
        raise ChannelError(f"no answer within {timeout:g} s") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise ChannelError(f"no answer within {timeout:g} s") from error
        raise ChannelError(f"it cannot be reached: {type(reason).__name__}") from error
    except ValueError as error:
        raise ChannelError("its URL is not one", again=False) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
