"""Bring the host of a URL to its normal form, as browsers do: the same for all spellings of one name or address.

    normal_form("B%C3%BCcher.example")      # "xn--bcher-kva.example"
    normal_form("0x7f.1")                   # "127.0.0.1"

The rules are those of the URL standard (https://url.spec.whatwg.org/#host-parsing), so a host that a browser finds is
found here, too. Whether an address may be contacted is decided later, in addresses.py, for whatever stands here.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote_to_bytes

import idna

_SHOWN_CHARACTERS = 80
# What the DNS can hold: labels of 1 to 63 characters, 253 in all, and a final dot. Of ASCII, a label may have what the
# URL standard does not forbid in a domain; glibc looks up letters, digits, hyphens and underscores only. An asterisk
# alone is no name to it, but this machine.
MOST_CHARACTERS = 253
LABEL_CHARACTERS = 63
_LABEL = rf"""[a-z0-9!"$&'()*+,;=_`{{}}~-]{{1,{LABEL_CHARACTERS}}}"""
_NAME = re.compile(rf"(?!\*$)(?=.{{1,{MOST_CHARACTERS}}}\.?$){_LABEL}(?:\.{_LABEL})*\.?")
# A host whose last label is a number, such as 127.1 or 0x7f000001: an IPv4 address, since no top-level domain is one.
_NUMERIC = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")
_NUMBERS = ((16, re.compile("0x([0-9a-f]*)")), (8, re.compile("0([0-7]+)")), (10, re.compile("(0|[1-9][0-9]*)")))
_IPV4_PARTS = 4
_ANY = "*"  # glibc takes it for no name, which is this machine


class HostNameError(ValueError):
    """A host that is neither a name in the DNS nor an address."""


def normal_form(host: str) -> str:
    """Return a host in ASCII and lower case: a name, four decimal numbers, or an IPv6 address in brackets.

    Escapes are undone. An international name gets its form in the DNS, by UTS 46 without transitional processing. An
    IPv4 address may be written with one to four numbers, decimal, octal (010) or hexadecimal (0x8).

    Args:
        host: as it stands in a URL, an IPv6 address in brackets.

    Raises:
        HostNameError: it can't be a host.
    """
    if host.startswith("["):
        return _ipv6(host[1:].removesuffix("]"))
    name = _ascii(unquote_to_bytes(host.encode("utf-8", "surrogateescape")).decode("utf-8", "replace"))
    if name == _ANY:
        raise HostNameError(f"a host name must not be *, which systems take for this machine; got {_shown(host)}")
    if not _NAME.fullmatch(name):
        raise HostNameError(
            "a host name must have labels of 1 to 63 characters, without spaces and any of #%/:<>?@[\\]^|; "
            f"got {_shown(host)}"
        )
    return _ipv4(name) if _NUMERIC.search(name) else name


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError as error:
        raise HostNameError(f"an IPv6 host must be an address; {error}"[:300]) from error
    if address.scope_id is not None:
        raise HostNameError(f"an IPv6 host must not name a zone; got {_shown(text)}")
    if (inner := address.ipv4_mapped) is not None:  # Python 3.13 would write its end as four decimal numbers
        return f"[::ffff:{int(inner) >> 16:x}:{int(inner) & 0xFFFF:x}]"
    return f"[{address}]"


def _ipv4(name: str) -> str:
    """Return four decimal numbers for an IPv4 address with one to four numbers, the last of which fills the rest."""
    parts = name.removesuffix(".").split(".")
    numbers = [_number(part) for part in parts]
    *first, last = numbers
    if len(parts) > _IPV4_PARTS or max([0, *first]) > 255 or last >= 256 ** (_IPV4_PARTS + 1 - len(parts)):
        raise HostNameError(f"an IPv4 host must have at most four numbers, which fit into 32 bits; got {_shown(name)}")
    value = last + sum(number << 8 * (_IPV4_PARTS - 1 - place) for place, number in enumerate(first))
    return str(IPv4Address(value))


def _number(part: str) -> int:
    for base, form in _NUMBERS:
        if match := form.fullmatch(part):
            return int(match[1] or "0", base)
    raise HostNameError(f"an IPv4 host must have decimal, octal or hexadecimal numbers; got {_shown(part)}")


def _ascii(host: str) -> str:
    """Return a name as the DNS has it; one in ASCII in lower case, with nothing else changed."""
    if host.isascii():
        return host.lower()
    try:
        mapped = idna.uts46_remap(host, std3_rules=False)
        return ".".join(label if label.isascii() else f"xn--{_punycode(label)}" for label in mapped.split("."))
    except (idna.IDNAError, UnicodeError) as error:
        raise HostNameError(f"a host name must be valid; got {_shown(host)}; {error}"[:300]) from error


def _punycode(label: str) -> str:
    return label.encode("punycode").decode("ascii")


def _shown(text: str) -> str:
    return repr(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:_SHOWN_CHARACTERS])
