"""Which addresses may be asked. The pure function only: nothing here connects."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.fetch.addresses import RefusedAddressError, guarded_socket, refusal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.0.200",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",
        "2002:a9fe:a9fe::",
        "2002:7f00:1::1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a9fe:a9fe",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
        "2001:db8::1",
        "100::1",
        "4000::1",
        "192.88.99.1",
        "3fff::1",
        "2001:20::1",
        "::a9fe:a9fe",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "0:0:0:0:0:ffff:a9fe:a9fe",
        "2002:0a00:0001::1",
        "2002:6440:1::",
        "64:ff9b::10.0.0.1",
        "64:ff9b::224.0.0.1",
        "64:ff9b::192.88.99.1",
        "2600::5efe:10.0.0.1",
        "2600::200:5efe:a9fe:a9fe",
        "2002:808:808::5efe:a9fe:a9fe",
        "2001:0:a9fe:a9fe::1",
    ],
)
def test_addresses_off_the_public_internet_are_refused_with_a_reason(address: str) -> None:
    assert address in (refusal(address) or "")


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "93.184.215.14",
        "::ffff:8.8.8.8",
        "2606:4700::1111",
        "2002:808:808::1",
        "64:ff9b::808:808",
        "2600::5efe:808:808",
    ],
)
def test_public_addresses_may_be_asked(address: str) -> None:
    assert refusal(address) is None


# IANA's special-purpose blocks (RFC 6890 and its registry), and multicast: written out, not asked of ipaddress.
SPECIAL = [
    ip_network(block)
    for block in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
special = st.sampled_from(SPECIAL).flatmap(lambda block: st.ip_addresses(v=4, network=block))
public = st.ip_addresses(v=4).filter(lambda address: not any(address in block for block in SPECIAL))

LEADS_TO: dict[str, Callable[[int], int]] = {
    "mapped": lambda inner: (0xFFFF << 32) | inner,
    "6to4": lambda inner: (0x2002 << 112) | (inner << 80) | 1,
    "NAT64": lambda inner: (0x64_FF9B << 96) | inner,
    "ISATAP": lambda inner: (0x2600 << 112) | (0x5EFE << 32) | inner,
    "ISATAP of a public address": lambda inner: (0x2600 << 112) | (0x0200_5EFE << 32) | inner,
    "ISATAP within 6to4": lambda inner: (0x2002_0808_0808 << 80) | (0x5EFE << 32) | inner,
}
"""IPv6 addresses that end at an IPv4 address, where that may be asked."""
REFUSED_AS_THEY_STAND: dict[str, Callable[[int], int]] = {
    "compatible": lambda inner: inner,
    "translated": lambda inner: (0xFFFF << 48) | inner,
    "a network's own NAT64": lambda inner: (0x64_FF9B_0001 << 80) | inner,
    "Teredo's server": lambda inner: (0x2001 << 112) | (inner << 64) | 1,
    "Teredo's client": lambda inner: (0x2001 << 112) | (0x0808_0808 << 64) | (inner ^ 0xFFFF_FFFF),
}


@given(special)
def test_every_address_off_the_public_internet_is_refused_in_every_way_to_write_it(inner: IPv4Address) -> None:
    ways = {**LEADS_TO, **REFUSED_AS_THEY_STAND}
    written = {"as it is": str(inner), **{way: str(IPv6Address(make(int(inner)))) for way, make in ways.items()}}
    assert [way for way, address in written.items() if refusal(address) is None] == []


@given(public)
def test_every_public_address_may_be_asked_in_every_way_that_ends_there(inner: IPv4Address) -> None:
    written = {"as it is": str(inner), **{way: str(IPv6Address(make(int(inner)))) for way, make in LEADS_TO.items()}}
    assert {way: why for way, address in written.items() if (why := refusal(address))} == {}


@given(public, st.sampled_from(sorted(REFUSED_AS_THEY_STAND)))
def test_ways_that_no_packet_of_the_internet_takes_lead_nowhere(inner: IPv4Address, way: str) -> None:
    assert refusal(str(IPv6Address(REFUSED_AS_THEY_STAND[way](int(inner)))))


@given(st.ip_addresses(v=6).filter(lambda address: int(address) >> 125 != 1))
def test_ipv6_space_that_nobody_was_given_is_refused(address: IPv6Address) -> None:
    inner = int(address) & 0xFFFF_FFFF
    ways = (LEADS_TO["mapped"], LEADS_TO["NAT64"])
    assert int(address) in [make(inner) for make in ways] or refusal(str(address))


def test_a_page_may_allow_networks_in_every_spelling_of_theirs_and_no_others() -> None:
    allowed = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    assert [refusal(address, allowed) for address in ("127.0.0.1", "::ffff:127.0.0.1", "fd00::1")] == [None] * 3
    assert refusal("64:ff9b::127.0.0.1", allowed) is None
    assert refusal("64:ff9b::10.0.0.1", allowed)
    assert refusal("10.0.0.1", allowed)
    assert refusal("::1", allowed)


def test_the_socket_factory_makes_no_socket_for_a_refused_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        pytest.fail("a socket was made")

    monkeypatch.setattr(socket, "socket", none)
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))
    with pytest.raises(RefusedAddressError) as caught:
        guarded_socket(())(info)
    assert "169.254.169.254" in caught.value.reason


def test_the_socket_factory_makes_a_socket_for_an_allowed_address() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    with guarded_socket((ip_network("127.0.0.0/8"),))(info) as made:
        assert made.family == socket.AF_INET
