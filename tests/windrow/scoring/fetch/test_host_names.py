"""The hosts of URLs: as browsers and the DNS understand them, and no refused address in any spelling."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.addresses import refusal
from windrow.scoring.fetch.host_names import HostNameError, normal_form


# ruff: noqa: RUF001
@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("some-name-.example.com", "some-name-.example.com"),
        ("-some-name.example.com", "-some-name.example.com"),
        ("a--b.example", "a--b.example"),
        ("--.example", "--.example"),
        ("A!b.com", "a!b.com"),
        ("a,b.example.com", "a,b.example.com"),
        ("a%2Cb，c.example.com", "a,b,c.example.com"),
        ("ü~.example.com", "xn--~-dha.example.com"),
        ("""!"$&'()*+,-;=_`{}~.example""", """!"$&'()*+,-;=_`{}~.example"""),
        ("_dmarc.my_host.example", "_dmarc.my_host.example"),
        ("Example.COM.", "example.com."),
        ("1.example", "1.example"),
        ("%45xample%2Ecom", "example.com"),
        ("b%C3%BCcher.example", "xn--bcher-kva.example"),
        ("bücher-.example", "xn--bcher--3ya.example"),
        ("my_bücher.example", "xn--my_bcher-95a.example"),
        ("XN--Bcher-KVA.example", "xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("ｅxample．com", "example.com"),
        # Without transitional processing, as browsers today: another name than strasse and fass.
        ("straße.example", "xn--strae-oqa.example"),
        ("STRASSE.example", "strasse.example"),
        ("faß☃.example", "xn--fa-hia6419a.example"),
        ("☃.example", "xn--n3h.example"),
        ("xn--a.example", "xn--a.example"),
        (f"{'a' * 63}.example", f"{'a' * 63}.example"),
        (f"{'a.' * 126}a.", f"{'a.' * 126}a."),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ("[::ffff:8.8.8.8]", "[::ffff:808:808]"),
    ],
)
def test_a_host_is_what_browsers_and_the_dns_make_of_it(written: str, normal: str) -> None:
    assert normal_form(written) == normal
    assert normal_form(normal) == normal


@pytest.mark.parametrize(
    "written",
    [
        *("", "*", "%2A", ".", "a..example", ".example", "example..", "a b.example", "a%20b.example", "a%00.example"),
        *("a%2Fb.example", "a%40b.example", "a%3A80.example", "a%5Cb.example", "a%23b", "100%.example", "%25.example"),
        *("%E9.example", "%FF", "\udce9.example", "a\ufffd.example", "a^b.example", "<a>.example", "a|b"),
        *(
            "a\x7f.example",
            "a%7Fb",
            "a%09b",
            "ü b.example",
            "ü^.example",
            "a／b.example",
            "a＠b.example",
            "a：b.example",
        ),
        *(f"{'a' * 64}.example", f"{'a.' * 127}a", f"{'ü' * 64}.example", f"{'ü' * 5000}.example"),
        *("256.1.1.1", "1.2.3.4.5", "1.2.3.256", "4294967296", "0x100000000", "1.16777216", "09.1.1.1", "0x7g.1"),
        *("1..1", "a.1", "a.0x1", "9" * 200, "１.２.３.４.５"),
        *("*", "%2a", "＊"),  # glibc looks up this machine for it
        *("[]", "[::1%25eth0]", "[fe80::1%eth0]", "[v1.a]", "[1:2]", "[::g]", "[127.0.0.1]"),
    ],
)
def test_what_no_browser_would_look_up_has_a_reason(written: str) -> None:
    with pytest.raises(HostNameError) as caught:
        normal_form(written)
    assert len(str(caught.value)) <= 300
    str(caught.value).encode()


def numbers(address: int) -> st.SearchStrategy[str]:
    """Every way to write an IPv4 address as one to four numbers, each of a base of its own."""

    def written(number: int) -> st.SearchStrategy[str]:
        zeros = st.sampled_from(["", "0", "0000"])
        ways = [st.just(str(number)), zeros.map(lambda more: f"0{more}{number:o}")]
        return st.one_of(*ways, zeros.map(lambda more: f"0x{more}{number:x}"), st.just(f"0X{number:X}"))

    def divided(count: int) -> st.SearchStrategy[str]:
        first = [address >> 8 * (3 - place) & 255 for place in range(count - 1)]
        last = address & 256 ** (5 - count) - 1
        return st.tuples(*map(written, [*first, last])).map(".".join)

    return st.integers(1, 4).flatmap(divided)


DRESSES = {
    "plain": lambda text: text,
    "a final dot": lambda text: f"{text}.",
    "escapes": lambda text: "".join(f"%{ord(letter):02X}" for letter in text),
    "full width": lambda text: "".join(chr(ord(letter) + 0xFEE0) for letter in text),
    "ideographic dots": lambda text: text.replace(".", "。"),
    "escaped full width": lambda text: quote("".join(chr(ord(letter) + 0xFEE0) for letter in text)),
    "in circles": lambda text: text.translate({ord("1") + place: 0x2460 + place for place in range(9)}),
}
spelled = st.ip_addresses(v=4).flatmap(
    lambda address: st.tuples(st.just(address), numbers(int(address)), st.sampled_from(sorted(DRESSES)))
)


@given(spelled)
def test_an_ipv4_address_is_the_same_in_every_spelling(case: tuple[IPv4Address, str, str]) -> None:
    address, text, dress = case
    assert normal_form(DRESSES[dress](text)) == str(address)


REFUSED = st.sampled_from(["127.0.0.1", "169.254.169.254", "10.0.0.5", "0.0.0.0", "224.0.0.1", "192.168.1.1"])


@given(
    REFUSED.map(IPv4Address).flatmap(lambda address: numbers(int(address))),
    st.sampled_from(sorted(DRESSES)),
    st.sampled_from(["", ":80", ":0080", ":8080", ":"]),
    st.sampled_from(
        [
            "http://{}/a",
            "HTTP://{}",
            "https://@{}?a",
            "http://{}\\a",
            "http://{}#a",
            "http:\\\\{}",
            "http:/{}",
            "http:///{}",
        ]
    ),
)
def test_a_refused_address_is_refused_in_every_spelling(text: str, dress: str, port: str, form: str) -> None:
    target = urls.understand(form.format(DRESSES[dress](text) + port).encode())
    assert target is not None
    assert target.address is not None, target.error
    assert refusal(urls.host(target.address))


@given(REFUSED.map(IPv4Address), st.booleans(), st.sampled_from([0xFFFF << 32, 0x64_FF9B << 96, 0, 0xFFFF << 48]))
def test_a_refused_address_is_refused_in_every_ipv6_spelling(inner: IPv4Address, is_long: bool, prefix: int) -> None:
    address = IPv6Address(prefix | int(inner))
    text = address.exploded.upper() if is_long else str(address)
    dotted = text.rpartition(":")[0].rpartition(":")[0] + f":{inner}" if is_long else text
    for written in (text, dotted):
        target = urls.understand(f"http://[{written}]:8080/a".encode())
        assert target is not None
        assert target.address is not None, target.error
        assert refusal(urls.host(target.address).strip("[]"))


@given(st.text(st.characters(codec="utf-8", exclude_characters="/?#@\\[]:", exclude_categories=["Cc"]), max_size=20))
def test_any_text_is_a_host_in_one_form_or_none(text: str) -> None:
    try:
        found = normal_form(text)
    except HostNameError:
        return
    assert found.isascii()
    assert normal_form(found) == found
