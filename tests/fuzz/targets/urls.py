"""Any line of a feed is a URL in its one spelling, or has a reason; and what is connected to is what was judged."""

from __future__ import annotations

import socket
from codecs import BOM_UTF8
from contextlib import suppress
from ipaddress import ip_address

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.addresses import refusal
from windrow.scoring.fetch.host_names import HostNameError, normal_form
from yarl import URL

from fuzz.bounds import lowered

LONGEST = 300
TOKENS = [
    *(
        "http://",
        "https://",
        "HTTP:",
        "//",
        "://",
        "@",
        "\\",
        "%",
        "%2e",
        "%2F",
        "%25",
        "%41",
        "%00",
        "%C3%A9",
        "#",
        "?",
    ),
    *(
        "[",
        "]",
        "::",
        "::ffff:",
        ":80",
        ":443",
        ":0",
        ":65535",
        "xn--",
        "bücher",
        "ß",
        "\u3002",
        "①",
        "\u200d",
        "\u00ad",
    ),
    *("0x", "127.0.0.1", "169.254.169.254", "2130706433", "0177.", "fe80::1%25", "localhost", ".example", "_", "-."),
]
SEEDS = [
    line.encode("utf-8", "surrogateescape")
    for line in (
        *("", " ", "http://example.com", "HTTPS://Example.COM:443/A b.png?x=é#top", "http://bücher.example/%7euser"),
        *(
            "http://Straße.example/",
            "http://☃.example/",
            "http://[2001:DB8:0:0::1]:8080/a",
            "http://my_host.example./a",
        ),
        *("http://[::ffff:127.0.0.1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://0251.0376.0251.0376/", "http://127.1/"),
        *(
            "http://0xa9fea9fe/",
            "http://169.254.169.254/latest",
            "http://[fe80::1%25eth0]/",
            "http://user:pw@a.example/",
        ),
        *(
            "//example.com\\@127.0.0.1/",
            "http://exa%6dple.com/",
            "http://some-name-.example.com/",
            "file:///etc/passwd",
        ),
        *("http://example.com:99999/", "data:image/png;base64,AAAA", "http://example.com/caf\udce9.png", "../b?c"),
        *(
            "http:\\\\example.com\\a.png",
            "https:/example.com",
            "http:///a!b.example",
            "http:a,b.example",
            "/\\a~b.example",
        ),
        *("http://example.com/a?x=%2B&y=a,b|c", "\ufeffhttp://a/", "http://\uff11\uff12\uff17.0.0.1/", "http://xn--a/"),
    )
]
_LOW = {"windrow.scoring.fetch.urls.MAX_BYTES": 100, "windrow.scoring.fetch.urls.SHOWN_CHARACTERS": 40}
_BASE = "http://example.com/a/b.png?c"


def check(data: bytes) -> None:
    """Read the bytes as a line of a feed, and as the Location of a redirect; odd lengths meet low limits."""
    with lowered(_LOW, len(data) % 2 == 1):
        _check(data)


def _check(data: bytes) -> None:
    with suppress(HostNameError):
        host = normal_form(data.decode("utf-8", "surrogateescape"))
        assert host.isascii(), host
        assert normal_form(host) == host, host
        _check_literal(host.strip("[]"))
    target = urls.understand(data)
    if target is None:
        blank = not data.decode("utf-8", "replace").strip().lstrip(urls.INVISIBLE)
        assert blank or BOM_UTF8.startswith(data), "a line that is not blank"
        return
    assert (target.address is None) == (target.status is not None) == bool(target.error), target
    assert len(target.url) <= urls.SHOWN_CHARACTERS
    assert len(target.url_key) == 64
    (target.url + (target.error or "")).encode()
    if target.address is not None:
        _check_address(target.address)
        again = urls.understand(target.address.encode())
        assert again is not None
        is_longer = len(target.address) > urls.MAX_BYTES  # than a line may be: what is escaped becomes longer
        assert is_longer or again.url_key == target.url_key, (target.address, again.address)
    try:
        hop = urls.redirected(_BASE, data.decode("utf-8", "surrogateescape"))
    except ValueError:  # UrlRefusedError is one; there are others, which the fetcher makes into a row as well
        return
    _check_address(hop)


def _check_address(address: str) -> None:
    assert address.isascii(), address
    assert urls.normalise(address) == address, (address, urls.normalise(address))
    asked, host = URL(address, encoded=True), urls.host(address)
    assert host, address
    assert asked.raw_host is not None
    # What is limited, keyed and allowed by robots.txt is one host, and what aiohttp connects to is the same one.
    assert asked.raw_host.rstrip(".") == host.strip("[]"), (asked.raw_host, host)
    assert urls.origin(address).partition("://")[0] == asked.scheme
    assert asked.user is None
    assert asked.password is None
    _check_literal(asked.raw_host)


def _check_literal(host: str) -> None:
    """Compare with the C library, which also takes 127.1, 0x7f000001 and 0177.0.0.1 for addresses; no name is asked."""
    try:
        found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return
    reached = {str(place[0]) for *_, place in found}
    assert {ip_address(each) for each in reached} == {ip_address(host)}, (host, reached)
    assert {refusal(each) is None for each in reached} == {refusal(host) is None}, host
