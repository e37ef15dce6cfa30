"""Where a provider made at run time may not be."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.reach import leads_nowhere_good, resolves_to_refused
from gateway.core.addresses import is_refused

METADATA = [
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "::ffff:169.254.169.254"),
    *("169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "fe80::1%eth0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    *("100.100.100.200", "168.63.129.16", "metadata.google.internal", "Metadata.Google.Internal.", "0.0.0.0", "::"),
    *("0", "224.0.0.1", "255.255.255.255"),
]

PROVIDERS = [
    *("127.0.0.1", "::1", "localhost", "10.0.0.5", "192.168.1.20", "172.16.0.1", "fd12::1", "ollama", "vllm.internal"),
    *("api.openai.com", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"),
]


@pytest.mark.parametrize("host", METADATA)
def test_metadata_services_are_refused_however_they_are_written(host: str) -> None:
    assert leads_nowhere_good(host)


@pytest.mark.parametrize("host", PROVIDERS)
def test_this_machine_and_private_networks_are_where_providers_can_be(host: str) -> None:
    assert not leads_nowhere_good(host)


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_every_spelling_of_a_link_local_address_is_one(address: object) -> None:
    number = int(ip_address(str(address)))
    for host in (str(address), str(number), hex(number), f"::ffff:{address}"):
        assert leads_nowhere_good(host)


@given(st.text())
def test_any_host_is_read(host: str) -> None:
    assert leads_nowhere_good(host) in (True, False)


def test_a_name_counts_for_what_it_resolves_to() -> None:
    assert resolves_to_refused("innocent.example", lambda host: ["93.184.216.34", "169.254.169.254"])
    assert not resolves_to_refused("innocent.example", lambda host: ["93.184.216.34", "10.0.0.1"])


def test_a_name_that_is_not_found_is_left_to_the_test_of_the_provider() -> None:
    assert not resolves_to_refused("nowhere.invalid.", _not_found)


def test_addresses_with_a_zone_are_read() -> None:
    assert resolves_to_refused("x", lambda host: ["fe80::1%eth0"])
    assert is_refused(ip_address("fe80::1"))


def _not_found(host: str) -> list[str]:
    raise OSError(host)
