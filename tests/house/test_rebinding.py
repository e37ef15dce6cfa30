"""A name that led to a provider when it was looked at, and leads to a metadata service when it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.addresses import REFUSED

ROOT = Path(__file__).parent.parent.parent
APART = ("unshare", "--map-root-user", "--net")
"""In a network of its own, which on Linux needs no rights where users may have namespaces."""


@pytest.fixture(scope="module", autouse=True)
def _apart() -> None:
    try:
        subprocess.run([*APART, "ip", "link"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there can be no network of its own here")


def test_nothing_is_sent_to_a_metadata_service_wherever_a_name_leads_by_now() -> None:
    told = subprocess.run(
        [*APART, sys.executable, "-m", "tests.house.link_local"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    lines = dict(line.split(": ", 1) for line in told.stdout.splitlines())
    assert set(lines) == {"plain", "proxy", "tunnel"}
    for said in lines.values():
        assert REFUSED in said
        assert said.endswith(" b''")
