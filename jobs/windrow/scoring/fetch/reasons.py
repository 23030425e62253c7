"""Say why a request got no complete answer: the status, and one sentence that begins with the reason."""

from __future__ import annotations

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from windrow.scoring.fetch.addresses import RefusedAddressError
from windrow.scoring.fetch.http_client import LongHeadError, NoAnswerError
from windrow.scoring.fetch.status import Status

LONGEST = 300
"""The most characters of a server's words that are kept."""


def explain(error: Exception, connect_seconds: float, read_seconds: float) -> tuple[Status, str]:
    """Return the status and the reason for a request that raised `error`; the deadlines are those of the request."""
    reached, reason = _explained(error, connect_seconds, read_seconds)
    return reached, clean(reason)


def clean(text: str) -> str:
    """Return a server's text on one line, cut to 300 characters, with what can't be printed replaced.

    What is not UTF-8 can't be written to a table, and control characters would steer the terminal that shows a log.
    """
    line = " ".join(text[:LONGEST].encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())
    return "".join(character if character.isprintable() else "\ufffd" for character in line)


def _explained(error: Exception, connect_seconds: float, read_seconds: float) -> tuple[Status, str]:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, RefusedAddressError):
        return Status.REFUSED_ADDRESS, f"an address {cause.reason}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        limit = f"{connect_seconds:g} s (scoring.connect_seconds)"
        return Status.TIMEOUT, f"a connection must be made within {limit}; it was not"
    if isinstance(error, aiohttp.ServerTimeoutError):
        limit = f"{read_seconds:g} s (scoring.read_seconds)"
        return Status.TIMEOUT, f"while reading, the next piece must come within {limit}; it did not"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Status.UNRESOLVED_HOST, f"the host's name has no address; {_system(cause)}"
    if isinstance(error, aiohttp.InvalidURL):
        return Status.INVALID_URL, f"a URL must have a host that can be asked; {error}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return Status.CONNECT_FAILED, f"the server's certificate must be trusted; {reason}"
    if isinstance(error, aiohttp.ClientSSLError):
        return Status.CONNECT_FAILED, f"the server must speak TLS; {getattr(cause, 'reason', None) or cause}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return Status.CONNECT_FAILED, f"the server must take connections; {_system(cause)}"
    return Status.BROKEN_RESPONSE, _broken(error)


def _broken(error: Exception) -> str:
    """Return the reason why an answer broke off, or was none."""
    is_long = _has_cause(error, LineTooLong) or "Too many headers" in str(error)
    if is_long or isinstance(error, LongHeadError):
        return str(LongHeadError())
    if isinstance(error, NoAnswerError):
        cause = error.__cause__
        why = f"; {_system(cause)}" if isinstance(cause, OSError) else ""
        return f"the server must answer; it closed the connection before it did{why}"
    if isinstance(error, aiohttp.ClientPayloadError):
        detail = getattr(error.__cause__, "message", None) or _system(error.__cause__ or error)
        return f"the body must arrive whole; {detail}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer must be HTTP; {error.message or error}"
    return f"the answer must be HTTP; {type(error).__name__}: {error}"


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    return error is not None and (isinstance(error, kind) or _has_cause(error.__cause__, kind))


def _system(error: object) -> str:
    """Return the words of the system's error, without its number."""
    return str(getattr(error, "strerror", None) or error)
