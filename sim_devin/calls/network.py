"""Which addresses a workflow's requests may reach: public ones, and those a setting names.

The API block, and every other request whose address comes from a workflow, a model or a
service, is judged by the address that is really connected to. What Sim refuses is refused here:
https://github.com/simstudioai/sim, ``apps/sim/lib/core/security/input-validation.server.ts``.
"""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import unquote, urlsplit

from sim_devin.errors import AddressRefused

SETTING = "SIM_DEVIN_NETWORK_ALLOW"
DEFAULT_PORTS = {"http": 80, "https": 443}
OTHER_PROTOCOLS = frozenset({22, 23, 25, 3306, 5432, 6379, 9200, 27017})  # the ports Sim refuses

Address = IPv4Address | IPv6Address

# Names that stand for an address wherever they are looked up.
_KNOWN_NAMES = {
    **dict.fromkeys(("localhost", "localhost.localdomain", "localhost6"), ("127.0.0.1", "::1")),
    **dict.fromkeys(("ip6-localhost", "ip6-loopback"), ("::1",)),
    **dict.fromkeys(("metadata", "instance-data"), ("169.254.169.254",)),
    "metadata.google.internal": ("169.254.169.254",),
    "metadata.goog": ("169.254.169.254",),
}
# What `ipaddress` calls global, or calls so in some versions of Python, and nobody should reach.
_NOT_PUBLIC = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("168.63.129.16/32", "metadata"),  # Azure's
        ("100.64.0.0/10", "shared"),
        ("192.0.0.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("::/96", "reserved"),  # IPv4-compatible
        ("64:ff9b:1::/48", "private"),
        ("100::/64", "reserved"),
        ("2001::/23", "reserved"),  # Teredo among them
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
        ("5f00::/16", "reserved"),
        ("fec0::/10", "private"),
    )
)
# Prefixes that carry an IPv4 address, and how many bits follow it.
_CARRIERS = tuple(
    (IPv6Network(network), after)
    for network, after in (
        ("::ffff:0:0/96", 0),
        ("::ffff:0:0:0/96", 0),
        ("64:ff9b::/96", 0),
        ("2002::/16", 80),
    )
)
_COMPATIBLE = IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True)
class Entry:
    """One thing that may be reached although it is not public: a name, an address, a network."""

    name: str = ""
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def covers(self, host: str, port: int, address: Address | None) -> bool:
        """Return whether this names `host`, or the address it led to, at `port`."""
        if self.port not in (None, port):
            return False
        if self.network is None:
            return self.name == host
        return address is not None and any(form in self.network for form in _forms(address))


def parse_entry(text: str) -> Entry:
    """Return the entry that ``host``, ``host:port`` or a CIDR network stands for.

    IPv6 addresses with a port are written in brackets.

    Raises:
        ValueError: it is none of these.
    """
    text = text.strip()
    if "/" in text:
        return Entry(network=ip_network(text))
    host, port = text, None
    bracketed = text.startswith("[")
    if (bracketed and not text.endswith("]")) or text.count(":") == 1:
        host, _, digits = text.rpartition(":")
        if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
            raise ValueError("the port is not a number from 1 to 65535")
        port = int(digits)
    if bracketed:
        if not host.endswith("]"):
            raise ValueError("a bracket is not closed")
        return Entry(network=ip_network(IPv6Address(host[1:-1])), port=port)
    address = literal(host)
    if address is not None:
        return Entry(network=ip_network(address), port=port)
    name = _name(host)
    labels = name.split(".")
    plain = all(label.replace("-", "").replace("_", "").isalnum() for label in labels)
    if not (name.isascii() and plain):
        raise ValueError("not a host, host:port or network")
    return Entry(name, port=port)


class NetworkPolicy:
    """What requests of workflows may reach.

    Args:
        allow: what may be reached although it is not public, see `parse_entry`.

    Raises:
        ValueError: an entry cannot be used; it names the entry.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self.allow = tuple(item.strip() for item in allow if item.strip())
        self._entries = tuple(map(_parsed, self.allow))

    def __repr__(self) -> str:
        return f"NetworkPolicy({list(self.allow)})"

    def reachable(self, host: str, port: int, addresses: Sequence[str]) -> list[str]:
        """Return those of a host's `addresses` that may be connected to.

        Raises:
            AddressRefused: none may.
        """
        kinds = {address: self._refuses(host, port, _address(address)) for address in addresses}
        fit = [address for address, kind in kinds.items() if not kind]
        if not fit:
            for address, kind in kinds.items():
                raise _refused(host, port, address, kind)
        return fit

    def check_host(self, host: str, port: int) -> None:
        """Refuse what can be judged without looking a name up.

        Raises:
            AddressRefused: the host is such an address, in whatever spelling, or the port is
                another protocol's.
        """
        address = literal(host)
        name = _name(host)
        if address is not None:
            self.reachable(host, port, [str(address)])
        elif known := _KNOWN_NAMES.get("localhost" if name.endswith(".localhost") else name):
            self.reachable(host, port, known)
        elif kind := self._refuses(host, port, None):
            raise _refused(host, port, host, kind)

    def check_url(self, url: str) -> None:
        """Refuse a URL by what is written in it; see `check_host`. What is no URL passes.

        Raises:
            AddressRefused: as `check_host` raises it.
        """
        try:
            parts = urlsplit(url.strip().replace("\\", "/"))
            host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        except ValueError:
            return
        if host and port:
            self.check_host(host, port)

    def _refuses(self, host: str, port: int, address: Address | None) -> str:
        """Return why an address may not be reached, nothing if it may."""
        if any(entry.covers(_name(host), port, address) for entry in self._entries):
            return ""
        if port in OTHER_PROTOCOLS:
            return f"port {port} belongs to another protocol"
        return "" if address is None else kind_of(address)


def literal(host: str) -> Address | None:
    """Return the address that a host is without any look-up, in whatever spelling; else None.

    Besides the usual ones: decimal, octal and hexadecimal numbers, fewer than four of them,
    other scripts' digits and dots, percent-encoding, a dot at the end, a zone.
    """
    text = _name(host).strip("[]")
    try:
        return _address(text)
    except ValueError:
        pass
    last = text.rpartition(".")[2]
    if not (last.isdigit() or last.startswith("0x")) or not text.isascii() or " " in text:
        return None
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def kind_of(address: Address) -> str:
    """Return what keeps an address from being public, such as ``loopback``; else nothing."""
    carried = _carried(address)
    if carried is not None:
        kind = kind_of(carried)
        if kind or _carrier(address) is not None:
            return kind
    for kind, holds in (
        ("unspecified", address.is_unspecified),
        ("loopback", address.is_loopback),
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
    ):
        if holds:
            return kind
    for network, kind in _NOT_PUBLIC:
        if address in network:
            return kind
    if address.is_private:
        return "private"
    return "reserved" if address.is_reserved or not address.is_global else ""


def _carrier(address: Address) -> int | None:
    """Return how many bits follow the IPv4 address in one that only wraps it."""
    return next((after for network, after in _CARRIERS if address in network), None)


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address carries."""
    value = int(address)
    after = _carrier(address)
    if after is None and isinstance(address, IPv6Address):
        compatible = address in _COMPATIBLE and value > 1
        after = 0 if compatible or (value >> 32 & 0xFFFFFFFF) in _ISATAP else None
    return None if after is None else IPv4Address(value >> after & 0xFFFFFFFF)


def _forms(address: Address) -> Iterator[Address]:
    yield address
    carried = _carried(address)
    if carried is not None:
        yield carried


def _address(text: str) -> Address:
    return ip_address(text.partition("%")[0])


def _name(host: str) -> str:
    """Return a host as it is compared: lower case, ASCII digits and dots, none at the end."""
    text = unicodedata.normalize("NFKC", unquote(host)).replace("。", ".").strip().lower()
    text = text.rstrip(".")
    if text.isascii():
        return text
    try:
        return text.encode("idna").decode()
    except UnicodeError:
        return text


def _parsed(text: str) -> Entry:
    try:
        return parse_entry(text)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r}: {error}") from None


def _refused(host: str, port: int, address: str, kind: str) -> AddressRefused:
    via = "" if _name(host) == address else f", resolved from {host}"
    bracketed = f"[{address}]" if ":" in address else address
    return AddressRefused(
        f"Workflows may not reach {address} ({kind}{via}).",
        hint=f"To allow it, add {bracketed}:{port} to allow under [network] in the config file, "
        f"or to {SETTING}.",
    )
