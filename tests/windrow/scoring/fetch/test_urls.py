"""What a line of a feed means."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.status import Status


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://Example.COM/A.png", "http://example.com/A.png"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("https://example.com:80/a", "https://example.com:80/a"),
        ("http://example.com/a#top", "http://example.com/a"),
        ("http://example.com/a b.png", "http://example.com/a%20b.png"),
        ("http://example.com/%7euser/%2f%2F", "http://example.com/~user/%2F%2F"),
        ("http://example.com/100%", "http://example.com/100%25"),
        ("http://example.com/é?q=é&a=1+2", "http://example.com/%C3%A9?q=%C3%A9&a=1+2"),
        ("http://example.com/a?x=%2B&y=a,b|c", "http://example.com/a?x=%2B&y=a,b%7Cc"),
        ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
        ("http://Straße.example/", "http://xn--strae-oqa.example/"),
        ("http://☃.example/", "http://xn--n3h.example/"),
        ("http://[2001:DB8:0:0::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://my_host.example./a", "http://my_host.example./a"),
        ("http://example.com/a\\b", "http://example.com/a/b"),
        ("http://example.com/a%5cb?c\\d", "http://example.com/a%5Cb?c%5Cd"),
        ("http://example.com\\a\\..\\b\\.\\c.png#\\", "http://example.com/b/c.png"),
        ("http://example.com\\a.png", "http://example.com/a.png"),
        ("https:/example.com/x.png", "https://example.com/x.png"),
        ("http:\\\\example.com\\a.png", "http://example.com/a.png"),
        ("http:///example.com//a", "http://example.com//a"),
        ("HTTP:\\/\\example.com:80?a", "http://example.com/?a"),
        ("https:example.com/x.png", "https://example.com/x.png"),
        ("http:////[::1]:81", "http://[::1]:81/"),
        ("http://a!b.com/a", "http://a!b.com/a"),
        ("http://a,b.example.com:8080/a", "http://a,b.example.com:8080/a"),
        ("http://A~b.com", "http://a~b.com/"),
        ("http://example.com:/a", "http://example.com/a"),
        ("http://example.com:00080/a", "http://example.com/a"),
        (f"http://example.com:{'0' * 5000}8080/a", "http://example.com:8080/a"),
        ("http://@example.com/", "http://example.com/"),
        ("http://:@example.com/", "http://example.com/"),
        ("http://%65xample%2ecom/a", "http://example.com/a"),
        ("http://0x7F.1:8080/a", "http://127.0.0.1:8080/a"),
        ("http://example.com/../a/./b", "http://example.com/a/b"),
        ("http://example.com/a/b/../../../c/.", "http://example.com/c/"),
        ("http://example.com/a/%2E%2e/.%2e/b/..", "http://example.com/"),
        ("http://example.com/a//../b/...", "http://example.com/a/b/..."),
        ("http://example.com/a/.b/..c?/../d/./e", "http://example.com/a/.b/..c?/../d/./e"),
    ],
)
def test_spellings_of_one_url_become_one(written: str, normal: str) -> None:
    assert urls.normalise(written) == normal
    assert urls.normalise(normal) == normal


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("no url at all", Status.INVALID_URL),
        ("example.com/a.png", Status.INVALID_URL),
        ("example.com:80/a.png", Status.INVALID_URL),
        ("# a comment", Status.INVALID_URL),
        ("http://", Status.INVALID_URL),
        ("http:", Status.INVALID_URL),
        ("http:\\/", Status.INVALID_URL),
        ("http:///?a.png", Status.INVALID_URL),
        ("http:80/a.png", Status.INVALID_URL),
        ("http: see below", Status.INVALID_URL),
        ("http://[::1", Status.INVALID_URL),
        ("http://[fe80::1%25eth0]/", Status.INVALID_URL),
        ("http://example.com:99999/", Status.INVALID_URL),
        ("http://example.com:0/", Status.INVALID_URL),
        ("http://example.com:+80/", Status.INVALID_URL),
        ("http://example.com:80:80/", Status.INVALID_URL),
        (f"http://example.com:{'9' * 5000}/", Status.INVALID_URL),
        ("http://[::1]example.com/", Status.INVALID_URL),
        ("http://example.com[::1]/", Status.INVALID_URL),
        ("http://[127.0.0.1]/", Status.INVALID_URL),
        ("http://exa mple.com/", Status.INVALID_URL),
        ("http://a..b/", Status.INVALID_URL),
        (f"http://{'a' * 64}.example/", Status.INVALID_URL),
        ("http://1.2.3.4.5/", Status.INVALID_URL),
        ("http://example.com/a\tb", Status.INVALID_URL),
        ("http://example.com/\0", Status.INVALID_URL),
        (f"http://{'ü' * 64}.example/", Status.INVALID_URL),
        (",".join(f"column {number}" for number in range(10_000)), Status.INVALID_URL),
        ("file:///etc/passwd", Status.REFUSED_SCHEME),
        ("ftp://example.com/a.png", Status.REFUSED_SCHEME),
        ("s3://bucket/a.png", Status.REFUSED_SCHEME),
        ("data:image/png;base64,AAAA", Status.REFUSED_SCHEME),
        ("javascript:alert(1)", Status.REFUSED_SCHEME),
        ("http://user:secret@example.com/", Status.REFUSED_CREDENTIALS),
        ("http://user@example.com/", Status.REFUSED_CREDENTIALS),
        ("http:/user:secret@example.com/", Status.REFUSED_CREDENTIALS),
        ("http:user:secret@example.com/", Status.REFUSED_CREDENTIALS),
        ("http:\\\\user@example.com/", Status.REFUSED_CREDENTIALS),
        ("http://example.com\\@127.0.0.1/", Status.REFUSED_CREDENTIALS),
    ],
)
def test_what_can_not_be_asked_has_a_status_and_a_reason(line: str, status: Status) -> None:
    target = urls.understand(line.encode())
    assert target is not None
    assert (target.address, target.status) == (None, status)
    assert target.error
    assert len(target.url) <= urls.SHOWN_CHARACTERS


@pytest.mark.parametrize(
    ("location", "reached"),
    [
        ("b.png", "https://example.com/x/b.png"),
        ("/b.png", "https://example.com/b.png"),
        ("https:b.png", "https://example.com/x/b.png"),
        ("https:/b.png", "https://example.com/b.png"),
        ("http:b.example/b.png", "http://b.example/b.png"),
        ("http:/b.example/b.png", "http://b.example/b.png"),
        ("//b.example/b.png", "https://b.example/b.png"),
        ("///b.example/b.png", "https://b.example/b.png"),
        ("\\\\b.example\\b.png", "https://b.example/b.png"),
        ("/\\b.example", "https://b.example/"),
        ("https:///b.example/b.png", "https://b.example/b.png"),
        (" HTTPS:\\\\b.example ", "https://b.example/"),
        ("\\b.png", "https://example.com/b.png"),
        (" b.png \t", "https://example.com/x/b.png"),
        ("..\\b.png?\\c", "https://example.com/b.png?%5Cc"),
        ("/a/%2e%2e/b.png", "https://example.com/b.png"),
    ],
)
def test_a_redirect_leads_where_it_leads_a_browser(location: str, reached: str) -> None:
    assert urls.redirected("https://example.com/x/a.png", location) == reached


def test_blank_lines_are_no_urls() -> None:
    assert [urls.understand(line) for line in (b"", b"  \t ", b"\xef\xbb\xbf", "\u3000".encode())] == [None] * 4


@pytest.mark.parametrize("size", range(4))
def test_a_file_that_was_cut_off_within_its_byte_order_mark_has_no_line(size: int) -> None:
    assert urls.understand(codecs.BOM_UTF8[:size]) is None


def test_a_byte_order_mark_and_blanks_around_are_dropped() -> None:
    target = urls.understand(b"\xef\xbb\xbf  http://example.com/a \r")
    assert target is not None
    assert target.address == "http://example.com/a"


def test_spellings_of_one_url_share_a_key_and_keep_what_was_written() -> None:
    one, other = urls.understand(b"HTTP://example.com:80/a#x"), urls.understand(b"http://example.com/a")
    assert one is not None
    assert other is not None
    assert one.url_key == other.url_key
    assert one.url == "HTTP://example.com:80/a#x"
    assert len(one.url_key) == 64


def test_bytes_that_are_not_utf8_are_asked_as_they_are_and_shown_readably() -> None:
    target = urls.understand(b"http://example.com/caf\xe9.png")
    assert target is not None
    assert target.address == "http://example.com/caf%E9.png"
    assert target.url == "http://example.com/caf\ufffd.png"


def test_bytes_that_are_not_utf8_make_no_host() -> None:
    target = urls.understand(b"http://caf\xe9.example/")
    assert target is not None
    assert target.status == Status.INVALID_URL
    target.url.encode()
    (target.error or "").encode()


def test_a_line_of_megabytes_is_cut_and_told_apart_by_the_digest_of_the_whole() -> None:
    beginning = b"http://example.com/" + b"x" * urls.MAX_BYTES
    one, other = urls.understand(beginning, "1" * 64), urls.understand(beginning, "2" * 64)
    assert one is not None
    assert other is not None
    assert one.status == Status.INVALID_URL
    assert len(one.url) == urls.SHOWN_CHARACTERS
    assert one.url_key != other.url_key


def test_a_password_is_never_shown() -> None:
    for begin in ("http://", "//", "ftp://", "http:", "HTTPS:/", "http:\\\\", "http:///", "/\\", "ftp:\\", "ftp:/"):
        target = urls.understand(f"{begin}user:secret@example.com/a".encode())
        assert target is not None
        assert "secret" not in repr(target)
        assert "***@" in target.url


# What URLs are made of, and what breaks them, more often than any other characters.
ODD = st.text(
    st.sampled_from("htp:/@.[]%#?\\ 0189abcxn-é\udcffß\u3002①\t\0") | st.characters(codec="utf-8"), max_size=30
)
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "http:", "http://", "HTTPS://", "http://a/", "http://a:", "http://[", "ftp://", "//"]),
    ODD,
    st.sampled_from(["", ".example", ":80", "]", "/", "?", "#"]),
    ODD,
)


@given(URLS.map(lambda text: text.encode("utf-8", "surrogateescape")) | st.binary(max_size=40))
@example(b"http://[fe80::1%\xe6]/")  # found by make fuzz: the reason had the bytes that are no UTF-8
def test_any_line_is_a_url_in_its_one_spelling_or_has_a_reason(line: bytes) -> None:
    target = urls.understand(line)
    if target is None:
        assert not line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
        return
    assert (target.address is None) == (target.status is not None) == bool(target.error)
    assert len(target.url.encode()) <= 4 * urls.SHOWN_CHARACTERS
    (target.error or "").encode()
    if target.address is not None:
        assert target.address.isascii()
        assert urls.normalise(target.address) == target.address
        assert urls.host(target.address)
        assert urls.origin(target.address).endswith(urls.host(target.address)) or ":" in urls.origin(target.address)
        again = urls.understand(target.address.encode())
        assert again is not None
        assert again.url_key == target.url_key


@given(
    st.sampled_from(["http://", "HTTPS://", "//", "ftp://", "x+y.z-1://", "http:", "http:/", "https:\\\\", "http:///"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/?#", exclude_categories=["Cc"]), max_size=10),
    ODD,
)
def test_what_stands_before_an_at_sign_is_never_shown_and_never_asked(scheme: str, user: str, rest: str) -> None:
    target = urls.understand(f"{scheme}{user}:hunter2@{rest}".encode("utf-8", "surrogateescape"))
    assert target is not None
    assert target.address is None
    assert "hunter2" not in repr(target)
