"""Make links for an HTML page, but only to addresses that a browser may safely follow."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit


def link(url: str, content: str, named: str = "") -> str:
    """Return `content` as a link if the URL is safe to follow; otherwise return it unchanged.

    Args:
        url: the address.
        content: HTML.
        named: HTML for the link's title; empty for no title.
    """
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
