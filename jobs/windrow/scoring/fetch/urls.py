"""Parse a line of a feed into the URL to request, or the reason not to request it, and the key that identifies it.

understand(b"HTTP://Example.com:80/a b.png#top").address      # "http://example.com/a%20b.png"
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from windrow.scoring.fetch.host_names import HostNameError, normal_form
from windrow.scoring.fetch.status import Status

MAX_BYTES = 8192
SHOWN_CHARACTERS = 1000
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SLASHES = "/\\"
_AFTER_PATH = re.compile(r"[?#]")
INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060 \xa0"  # byte order marks and what is copied with a URL; never in its scheme
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d+(?:/|$))")  # example.com:80/ is a host and a port
_PLACE = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]*))?")  # host and port
LAST_PORT = 65_535
# http and https with any slashes, since all are read the same; elsewhere a slash after the scheme, or two at the start.
_USER = re.compile(r"^((?:https?:|[a-z][a-z0-9+.-]*:(?=[/\\])|(?=[/\\]{2}))[/\\]*+)[^/?#]*@", re.IGNORECASE)
# A redirect to a host: what is left out before that is taken from the URL. urljoin knows two slashes only.
_WITH_HOST = re.compile(r"(https?:)?[/\\]{2}(.*)", re.IGNORECASE | re.DOTALL)
_ESCAPES = re.compile(r"%(?:[0-9A-Fa-f]{2})?|[^%]+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH_SAFE = "/:@!$&'()*+,;=~"
_QUERY_SAFE = _PATH_SAFE + "?"

HOST = r"^https?://(\[[^\]]*\]|[^:/?]*?)\.?(?::\d+)?(?:[/?]|$)"
"""Matches the host of a normalised URL without a final dot, in Python's and in Java's regular expressions."""
_HOST_OF = re.compile(HOST)
_ORIGIN_OF = re.compile(r"^https?://[^/?]*")


class UrlRefusedError(ValueError):
    """A URL that must not be requested, with the status of its row and the reason, which is valid UTF-8."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = _valid(reason)


@dataclass(frozen=True)
class Target:
    """One URL of a feed. Either `address` is set, or `status` and `error` are.

    Attributes:
        url: the URL as the feed has it, for reading and for joins, but cut to 1,000 characters, with user and
            password masked.
        url_key: SHA-256 of the normalised URL; of the line if it has no normal form.
        address: the normalised URL, which is requested; None if the URL must not be requested.
        status: the reason why the URL must not be requested.
        error: the same reason as a message for the user.
        extra: the feed's other columns as JSON.
        attempt: the number of earlier runs that tried this URL.
        content_hash: SHA-256 of the bytes that an earlier run downloaded, if these may be in the cache.
    """

    url: str
    url_key: str
    address: str | None = None
    status: str | None = None
    error: str | None = None
    extra: str | None = None
    attempt: int = 0
    content_hash: str | None = None


def understand(line: bytes, digest: str | None = None) -> Target | None:
    """Return a feed's line as a target; None for a blank line. Never raises.

    Args:
        line: without its line end. Bytes that are not UTF-8 are percent-encoded.
        digest: SHA-256 of the whole line if `line` is only its beginning.
    """
    text = line.decode("utf-8", "surrogateescape").strip().lstrip(INVISIBLE)
    if not text or BOM_UTF8.startswith(line):  # a file may be cut off within its byte order mark
        return None
    if len(line) > MAX_BYTES:
        reason = f"a URL has at most {MAX_BYTES:,} bytes; got a longer line"
        return Target(shown(text), digest or _digest(text), None, Status.INVALID_URL, reason)
    try:
        address = normalise(text)
    except UrlRefusedError as refused:
        return Target(shown(text), _digest(text), None, refused.status, refused.reason)
    return Target(shown(text), _digest(address), address)


def normalise(url: str) -> str:
    """Return a URL in its normal form, which is the same for URLs that certainly mean the same.

    The host is in its normal form, see host_names.py, and the scheme in lower case, with two slashes after it however
    many there were. The default port and the fragment are dropped. Escapes are in upper case; those of unreserved
    characters are undone, and other characters that need an escape get one. Of the path, backslashes are slashes, and
    the parts `.` and `..` are resolved, as the URL standard says. Path and query are otherwise left alone, because
    servers differ.

    Raises:
        UrlRefusedError: with status invalid_url, refused_scheme or refused_credentials.
    """
    if found := _CONTROLS.search(url):
        raise UrlRefusedError(Status.INVALID_URL, f"a URL has no control characters; got {found[0]!r}")
    scheme, rest = _scheme(url)
    try:
        # Browsers take any number of slashes here, and backslashes for slashes.
        parts = urlsplit(f"{scheme}://{_forward(rest).lstrip('/')}")
    except ValueError as error:
        raise UrlRefusedError(Status.INVALID_URL, f"a URL must be well formed; {error}") from error
    if "@" in rest and _names_user(rest):
        raise UrlRefusedError(Status.REFUSED_CREDENTIALS, "a URL must hold no user and no password; remove them")
    path = _escape(parts.path, _PATH_SAFE) or "/"
    if "/." in path:
        path = _without_dots(path)
    place = _place(parts.netloc.rpartition("@")[2], scheme)
    return urlunsplit((scheme, place, path, _escape(parts.query, _QUERY_SAFE), ""))


def redirected(url: str, location: str) -> str:
    """Return the normal form of the URL that an answer for `url`, which is normalised, redirects to.

    Raises:
        ValueError: it is no URL; a UrlRefusedError, with its status, if it must not be requested.
    """
    location = location.strip()
    if match := _WITH_HOST.match(location):
        scheme = match[1] or f"{urlsplit(url).scheme}:"
        return normalise(f"{scheme}//{match[2]}")
    return normalise(urljoin(url, _forward(location)))


def host(url: str) -> str:
    """Return the host of a normalised URL: a name, an address, or an IPv6 address in brackets."""
    match = _HOST_OF.match(url)
    return match[1] if match else ""


def origin(url: str) -> str:
    """Return scheme, host and port of a normalised URL."""
    match = _ORIGIN_OF.match(url)
    return match[0] if match else ""


def shown(text: str) -> str:
    """Return a URL, or a part of one, in a form to show: valid UTF-8, short, and without user and password."""
    masked = _USER.sub(lambda match: f"{match[1]}***@", text)
    clean = _valid(masked)
    return clean if len(clean) <= SHOWN_CHARACTERS else f"{clean[: SHOWN_CHARACTERS - 1]}…"


def _valid(text: str) -> str:
    """Return a text with a replacement character for each byte that was not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _scheme(url: str) -> tuple[str, str]:
    """Return the scheme, http or https, and what follows its colon."""
    match = _SCHEME.match(url)
    if match is None:
        raise UrlRefusedError(Status.INVALID_URL, "a URL must begin with http:// or https://; got no scheme")
    scheme = match[1].lower()
    if scheme not in _DEFAULT_PORTS:
        raise UrlRefusedError(Status.REFUSED_SCHEME, f"only http and https are asked; got {scheme[:40]}:")
    return scheme, url[match.end() :]


def _forward(url: str) -> str:
    """Return a URL, or a part of one, with slashes for the backslashes before its query and fragment."""
    if "\\" not in url:
        return url
    end = match.start() if (match := _AFTER_PATH.search(url)) else len(url)
    return url[:end].replace("\\", "/") + url[end:]


def _without_dots(path: str) -> str:
    """Return a path without its parts `.` and `..`; a `..` removes the part before it."""
    parts: list[str] = []
    *before, last = path.split("/")[1:]
    for part in before:
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    if last == "..":
        del parts[-1:]
    return "/".join(["", *parts, "" if last in (".", "..") else last])


def _names_user(rest: str) -> bool:
    """Return whether a user is named after the scheme, also behind a backslash, where others than browsers see one."""
    authority = _AFTER_PATH.split(rest.lstrip(_SLASHES), maxsplit=1)[0].partition("/")[0]
    user, at, _ = authority.rpartition("@")
    return bool(at) and user not in ("", ":")


def _place(authority: str, scheme: str) -> str:
    """Return the normal form of a host and a port, without the scheme's default port."""
    match = _PLACE.fullmatch(authority)
    if match is None:
        reason = f"a URL must have a host, and after a colon a port; got {shown(authority)[:80]!r}"
        raise UrlRefusedError(Status.INVALID_URL, reason)
    try:
        host = normal_form(match[1])
    except HostNameError as error:
        raise UrlRefusedError(Status.INVALID_URL, str(error)) from error
    if not match[2]:
        return host
    port = int(match[2].lstrip("0")[: len(str(LAST_PORT)) + 1] or 0)
    if not 1 <= port <= LAST_PORT:
        raise UrlRefusedError(Status.INVALID_URL, f"a port must be 1 to {LAST_PORT}; got {match[2][:40]}")
    return host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"


def _escape(text: str, safe: str) -> str:
    return _ESCAPES.sub(lambda match: _escaped(match[0], safe), text)


def _escaped(piece: str, safe: str) -> str:
    if not piece.startswith("%"):
        return quote(piece, safe=safe, errors="surrogateescape")
    if piece == "%":
        return "%25"
    character = chr(int(piece[1:], 16))
    return character if character in _UNRESERVED else piece.upper()
