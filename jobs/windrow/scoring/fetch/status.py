"""Define the statuses of a URL and their consequences. docs/table.md explains the same statuses to users."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """All statuses, as they are written in the table. RULES says what each one means."""

    OK = "ok"
    INVALID_URL = "invalid_url"
    REFUSED_SCHEME = "refused_scheme"
    REFUSED_CREDENTIALS = "refused_credentials"
    REFUSED_ADDRESS = "refused_address"
    REFUSED_ROBOTS = "refused_robots"
    ROBOTS_UNAVAILABLE = "robots_unavailable"
    HOST_UNAVAILABLE = "host_unavailable"
    UNRESOLVED_HOST = "unresolved_host"
    CONNECT_FAILED = "connect_failed"
    TIMEOUT = "timeout"
    BROKEN_RESPONSE = "broken_response"
    HTTP_UNAVAILABLE = "http_unavailable"
    HTTP_ERROR = "http_error"
    TOO_LARGE = "too_large"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    NOT_AN_IMAGE = "not_an_image"
    IMAGE_TOO_LARGE = "image_too_large"
    BROKEN_IMAGE = "broken_image"

    @property
    def rule(self) -> StatusRule:
        """The consequences of the status."""
        return RULES[self]

    @property
    def passing(self) -> bool:
        """True if a later run may end differently, and therefore tries again."""
        return RULES[self].passing

    @property
    def deciding_keys(self) -> tuple[str, ...]:
        """The keys of the page that decide the status, with the section's name."""
        return tuple(f"scoring.{key}" for key in RULES[self].keys)


@dataclass(frozen=True)
class StatusRule:
    """The consequences of a status.

    Attributes:
        meaning: an explanation for the user.
        passing: a later run may end differently, so the URL is tried again; a status that is not passing is final.
        retried_now: a second try in the same run often helps.
        of_the_host: the host failed; after too many failures in a row, a task leaves the host alone in this run.
        no_connection: no answer was received. If a robots.txt ends so, the image gets the same status, not
            robots_unavailable, because the image's download would have failed in the same way.
        keys: the keys of the page's section scoring that decide it: with other values the URL may end differently.
    """

    meaning: str
    passing: bool = False
    retried_now: bool = False
    of_the_host: bool = False
    no_connection: bool = False
    keys: tuple[str, ...] = ()


RULES: dict[Status, StatusRule] = {
    Status.OK: StatusRule("labelled"),
    Status.INVALID_URL: StatusRule(
        "the line is not a URL that can be requested: no scheme or host, too long, or control characters"
    ),
    Status.REFUSED_SCHEME: StatusRule("neither http nor https, in the feed or in a redirect"),
    Status.REFUSED_CREDENTIALS: StatusRule("the URL has a user or a password; secrets do not belong in feeds"),
    Status.REFUSED_ADDRESS: StatusRule(
        "the host's address is not on the public internet and not in scoring.allow_addresses",
        no_connection=True,
        keys=("allow_addresses",),
    ),
    Status.REFUSED_ROBOTS: StatusRule(
        "robots.txt or an X-Robots-Tag (noai, noimageai, noindex, noimageindex, none) forbids it",
        keys=("robots",),
    ),
    Status.ROBOTS_UNAVAILABLE: StatusRule(
        "the host's robots.txt could not be read, and might forbid it",
        passing=True,
        keys=("robots",),
    ),
    Status.HOST_UNAVAILABLE: StatusRule(
        "not requested: the host failed 10 times in a row in this run (more if it answers a part of its URLs), "
        "or asked for a long pause",
        passing=True,
        no_connection=True,
    ),
    Status.UNRESOLVED_HOST: StatusRule(
        "the host name has no address",
        passing=True,
        of_the_host=True,
        no_connection=True,
    ),
    Status.CONNECT_FAILED: StatusRule(
        "no connection, or no trusted TLS certificate",
        passing=True,
        retried_now=True,
        of_the_host=True,
        no_connection=True,
    ),
    Status.TIMEOUT: StatusRule(
        "no connection, no next piece, or no whole answer within the page's limits",
        passing=True,
        of_the_host=True,
        no_connection=True,
        keys=("timeout_seconds", "connect_seconds", "read_seconds"),
    ),
    Status.BROKEN_RESPONSE: StatusRule(
        "the server closed the connection, or did not speak HTTP",
        passing=True,
        retried_now=True,
        of_the_host=True,
    ),
    Status.HTTP_UNAVAILABLE: StatusRule(
        "HTTP 408, 425, 429 or 5xx",
        passing=True,
        retried_now=True,
        of_the_host=True,
    ),
    Status.HTTP_ERROR: StatusRule("any other answer that is not 2xx, such as 404 or 410"),
    Status.TOO_LARGE: StatusRule("more bytes than scoring.max_bytes", keys=("max_bytes",)),
    Status.TOO_MANY_REDIRECTS: StatusRule("more than 5 redirects"),
    Status.NOT_AN_IMAGE: StatusRule("the bytes are not a PNG, JPEG, GIF, BMP or WebP file"),
    Status.IMAGE_TOO_LARGE: StatusRule(
        "more pixels than scoring.max_pixels, by the file's header", keys=("max_pixels",)
    ),
    Status.BROKEN_IMAGE: StatusRule(
        "it begins like an image but can't be decoded, for example because it is truncated"
    ),
}
_UNAVAILABLE = frozenset({408, 425, 429})


def of_http(code: int) -> Status:
    """Return the status for an HTTP status code; OK means that the body is worth reading."""
    if 200 <= code < 300:
        return Status.OK
    return Status.HTTP_UNAVAILABLE if code in _UNAVAILABLE or code >= 500 else Status.HTTP_ERROR


def unlabelled(text: str) -> list[str]:
    """Parse a command-line value, statuses of URLs without a label, separated by commas; refuse any other text."""
    known = [status.value for status in Status if status is not Status.OK]
    given = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in given if name not in known]:
        hint = "; rows that are ok have their label, which --rescore replaces" if Status.OK in unknown else ""
        raise argparse.ArgumentTypeError(f"must be among {', '.join(known)}; got {', '.join(unknown)}{hint}")
    return given
