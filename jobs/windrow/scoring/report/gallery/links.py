"""Addresses on a page of HTML: those that a browser may be sent to, and nothing else."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit


def link(url: str, content: str, named: str = "") -> str:
    """`content` (HTML) as a link, where the URL is one that a browser may be sent to."""
    if not _safe(url):
        return content
    title = f' title="{named}"' if named else ""
    return f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer nofollow"{title}>{content}</a>'


def _safe(url: str) -> bool:
    return url.lower().startswith(("http://", "https://")) and bool(host_of(url)) and url.isprintable()


def host_of(url: str) -> str:
    """The host of a URL; empty where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
