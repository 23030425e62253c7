"""Link addresses on a page of HTML, but only those that a browser may safely follow."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit


def link(url: str, content: str, named: str = "") -> str:
    """Return `content` (HTML) as a link if the URL is safe to follow, else as it is."""
    if not _safe(url):
        return content
    title = f' title="{named}"' if named else ""
    return f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer nofollow"{title}>{content}</a>'


def _safe(url: str) -> bool:
    return url.lower().startswith(("http://", "https://")) and bool(host_of(url)) and url.isprintable()


def host_of(url: str) -> str:
    """Return the host of a URL; empty for a URL without one."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
