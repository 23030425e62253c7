"""Decide which IP addresses may be contacted: those on the public internet, and those that the page allows.

A feed is text from other people. Without this guard a line in it, or a redirect, could make a worker read the cloud's
metadata service or a machine of the internal network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network
# (family, type, protocol, canonical name, socket address), as getaddrinfo returns it.
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]

_GLOBAL_UNICAST = IPv6Network("2000::/3")
# The last 32 bits are the IPv4 address that a translator contacts.
_NAT64 = IPv6Network("64:ff9b::/96")
# Older versions of Python call these public, but they are reserved for protocols (RFC 6890), 6to4 relays (RFC 7526),
# documentation (RFC 9637), and overlay identifiers (RFC 7343).
_RESERVED = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("3fff::/20"),
    IPv6Network("2001:20::/28"),
)
# If bits 64 to 95 of an IPv6 address have one of these values, it is a tunnel to the IPv4 address in its last 32 bits
# (ISATAP, RFC 5214), in any network.
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE, 0x0100_5EFE, 0x0300_5EFE})


class RefusedAddressError(OSError):
    """The address must not be contacted. An OSError, so that aiohttp tries the host's other addresses."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def __str__(self) -> str:
        # The same text for every address: aiohttp then raises this error itself, not an error that sums up several.
        return "refused address"


def refusal(address: str, allowed: Sequence[IpNetwork] = ()) -> str | None:
    """Return the reason why `address` (an IP literal) must not be contacted; None if it may be."""
    given = ip_address(address)
    if isinstance(given, IPv6Address) and given.ipv4_mapped is not None:
        given = given.ipv4_mapped
    if _within(given, allowed):
        return None
    if not _public(given):
        return f"must be on the public internet or in scoring.allow_addresses; got {address}"
    for inner in _embedded(given):
        if not _public(inner) and not _within(inner, allowed):
            return f"must not lead to an address off the public internet; got {address}, which leads to {inner}"
    return None


def guarded_socket(allowed: Sequence[IpNetwork]) -> Callable[[AddressInfo], socket.socket]:
    """Return a socket factory that checks each address just before the connection, after every name look-up.

    Raises:
        RefusedAddressError: from the factory, before any packet is sent.
    """

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, place = info
        if reason := refusal(str(place[0]), allowed):
            raise RefusedAddressError(reason)
        return socket.socket(family, kind, protocol)

    return make


def _within(address: Address, networks: Sequence[IpNetwork]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _public(address: Address) -> bool:
    """Return whether an address is public. Python's `is_global` also accepts multicast and unassigned IPv6 space."""
    if address.is_multicast or _within(address, _RESERVED):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global
    return (address.is_global and address in _GLOBAL_UNICAST) or address in _NAT64


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that a packet to this IPv6 address may be forwarded to.

    Mapped, compatible and translated forms, Teredo and local NAT64 (64:ff9b:1::/48) are left out, because these
    addresses are refused anyway.
    """
    if not isinstance(address, IPv6Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in _NAT64 or int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
