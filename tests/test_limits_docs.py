"""What docs/limits.md shows works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from gateway.config.resolve import loads
from gateway.sinks.metrics import Metrics

DOCUMENT = (Path(__file__).parent.parent / "docs" / "limits.md").read_text()
(CONFIGURATION,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_the_configuration_works() -> None:
    environ = {"OPENAI_API_KEY": "sk-1", "WEB_APP_KEY": "a-long-enough-key-1"}
    snapshot = loads(CONFIGURATION, name="gateway.yaml", environ=environ)
    (key,) = snapshot.keys.values()
    assert (key.limits.requests, key.limits.tokens, key.limits.concurrent) == (600, 1_000_000, 40)
    assert key.budget is not None
    assert key.budget.usd_micros == 50_000_000


def test_every_metric_that_it_names_exists() -> None:
    shown = {family.name for family in Metrics().collect()}
    named = set(re.findall(r"`(gateway_[a-z_]+)`", DOCUMENT))
    assert {name.removesuffix("_total") for name in named} <= shown


def test_its_commands_work_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    environ = {**os.environ, "OPENAI_API_KEY": "sk-1", "WEB_APP_KEY": "a-long-enough-key-1"}
    environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    for command in re.findall(r"^\$ gateway (.*)$", DOCUMENT, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *shlex.split(command)],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
