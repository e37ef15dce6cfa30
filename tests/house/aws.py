"""An environment that has nothing of AWS, so that a test finds only what it puts there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Set = Callable[[str, str], None]


def without_aws(monkeypatch: pytest.MonkeyPatch, home: Path) -> Set:
    """Takes all of AWS out of the environment until the test ends. Returns how to set a variable in it.

    The files are `config` and `credentials` in `home`; no metadata service is asked.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch.setenv
