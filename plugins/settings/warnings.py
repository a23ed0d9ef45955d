"""Warnings about network settings that are allowed, but likely mistakes that make the appliance unreachable."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from jidoteki.hookspecs.validators import prefix_length

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def warnings_of(network: dict[str, str], listening: str | Sequence[str] | None = None) -> list[str]:
    """Return the warnings about network settings, one sentence each.

    :param network: settings that passed the validator.
    :param listening: the configuration's `listen.host`.
    """
    if "ip_address" not in network:
        return ["dns1 and dns2 have no effect with DHCP"] if {"dns1", "dns2"} & network.keys() else []
    own, gateway = ipaddress.ip_address(network["ip_address"]), ipaddress.ip_address(network["gateway"])
    subnet = ipaddress.ip_interface(f"{own}/{prefix_length(network['netmask'], own.version)}").network
    told = [_of_no_machine("ip_address", own, subnet), _of_no_machine("gateway", gateway, subnet)]
    told += [_of_no_machine(key, ipaddress.ip_address(network[key])) for key in ("dns1", "dns2") if key in network]
    if own == gateway:
        told.append(f"ip_address and gateway are the same, {own}")
    if gateway not in subnet and not gateway.is_link_local:
        told.append(f"gateway {gateway} is not in the subnet of ip_address, {subnet}")
    told.append(_not_listening(own, [listening] if isinstance(listening, str) else list(listening or ())))
    return [each for each in told if each]


def _of_no_machine(key: str, address: Address, subnet: Network | None = None) -> str | None:
    """Return a warning if no machine can have this address."""
    kind = None
    if address.is_unspecified:
        kind = "means none"
    elif address.is_multicast:
        kind = "is a multicast address"
    elif address.is_loopback and key != "dns1" and key != "dns2":
        kind = "is a loopback address"
    elif address == BROADCAST:
        kind = "is the broadcast address of all networks"
    elif address.version == 4 and address.is_reserved:
        kind = "is a reserved address"
    elif subnet and subnet.max_prefixlen - subnet.prefixlen > 1:  # RFC 3021, RFC 6164: of two both are for machines
        kind = _in_subnet(address, subnet)
    return f"{key} {address} {kind}, which no machine can have" if kind else None


def _in_subnet(address: Address, subnet: Network) -> str | None:
    if address == subnet.network_address:
        return "is the address of the network" if address.version == 4 else "is the anycast address of the routers"
    if address == subnet.broadcast_address and address.version == 4:
        return "is the broadcast address of the network"
    return None


def _not_listening(own: Address, hosts: Sequence[str]) -> str | None:
    """Return a warning if this service does not listen on the new address, unless it is behind a local proxy."""
    addresses = [each for each in map(_parsed, hosts) if each]
    if len(addresses) < len(hosts) or all(each.is_loopback for each in addresses):
        return None
    if any(each == own or (each.is_unspecified and each.version in (own.version, 6)) for each in addresses):
        return None
    return f"listen.host of the configuration is {', '.join(hosts)}: this API will not be served at ip_address {own}"


def _parsed(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
