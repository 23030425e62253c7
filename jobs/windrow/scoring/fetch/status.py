"""How a URL's scoring can end: a closed set. `passing` ones may heal by themselves, final ones will not.

ok                   final    labelled
invalid_url          final    the line is not a URL that can be asked: no scheme or host, too long, control characters
refused_scheme       final    neither http nor https, in the feed or in a redirect
refused_credentials  final    a user or password in the URL; secrets do not belong in feeds
refused_address      final    the host's address is not on the public internet and not in scoring.allow_addresses
refused_robots       final    robots.txt or an X-Robots-Tag (noai, noimageai, noindex, noimageindex, none) forbids it
robots_unavailable   passing  the host's robots.txt could not be read, and might forbid it
host_unavailable     passing  not asked: the host failed 10 times in a row in this run, or wants a long pause
unresolved_host      passing  the name has no address
connect_failed       passing  no connection, or no TLS that can be trusted
timeout              passing  no connection, no next piece or no whole answer within the page's seconds for it
broken_response      passing  the server hung up, or did not speak HTTP
http_unavailable     passing  HTTP 408, 425, 429 or 5xx: not now
http_error           final    any other answer that is not 2xx, such as 404 or 410
too_large            final    more than scoring.max_bytes
too_many_redirects   final    more than 5
not_an_image         final    the bytes are no PNG, JPEG, GIF, BMP or WebP
image_too_large      final    more than scoring.max_pixels, by its header
broken_image         final    it begins like an image but can't be decoded, a truncated one for example
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """See the module's table."""

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
    def passing(self) -> bool:
        """Whether a later try may end differently."""
        return self in _PASSING


_PASSING = frozenset(
    {
        Status.ROBOTS_UNAVAILABLE,
        Status.HOST_UNAVAILABLE,
        Status.UNRESOLVED_HOST,
        Status.CONNECT_FAILED,
        Status.TIMEOUT,
        Status.BROKEN_RESPONSE,
        Status.HTTP_UNAVAILABLE,
    }
)
_UNAVAILABLE = frozenset({408, 425, 429})


def of_http(code: int) -> Status:
    """The status of an HTTP answer by its code alone; ok says that its body is worth reading."""
    if 200 <= code < 300:
        return Status.OK
    return Status.HTTP_UNAVAILABLE if code in _UNAVAILABLE or code >= 500 else Status.HTTP_ERROR
