"""What docs/failover.md says is so: its table of failures, its configuration, its commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.resolve import loads
from gateway.core.errors import RULES, Failure, Rule

DOCUMENT = (Path(__file__).parent.parent / "docs" / "failover.md").read_text()
ENVIRON = {
    "OPENAI_API_KEY": "sk-1",
    "AZURE_KEY": "sk-2",
    "ANTHROPIC_API_KEY": "sk-3",
    "WEB_APP_KEY": "a-long-enough-key-1",
    "NIGHTLY_KEY": "a-long-enough-key-2",
}
(CONFIGURATION,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ gateway (.*)$", DOCUMENT, re.MULTILINE)]
SIMULATIONS = [command for command in COMMANDS if command[0] == "simulate"]


def rows() -> Iterator[tuple[str, list[str]]]:
    """Each row of the table of failures: its name, and the other cells."""
    for name, rest in re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", DOCUMENT, re.MULTILINE):
        if name in set(Failure):
            yield name, [cell.strip() for cell in rest.split("|")]


def facts(rule: Rule) -> list[str]:
    """What a row of the table has to say: again, elsewhere, health, told when all are spent."""
    told = f"{rule.status} `{rule.code}`" if rule.code else str(rule.status)
    return [
        str(bool(rule.again)),
        str(rule.elsewhere),
        f"{rule.ill:g}",
        told if rule.status else "as the provider has it",
    ]


def test_every_failure_is_in_the_table_as_it_is_treated() -> None:
    told = {
        name: [str(again.startswith("once")), str(elsewhere == "yes"), ill or "0", spent]
        for name, (_, again, elsewhere, ill, _, spent) in rows()
    }
    assert told == {failure.value: facts(rule) for failure, rule in RULES.items()}


def test_every_cooldown_is_in_the_table() -> None:
    told = {name: int(seconds[-1]) for name, cells in rows() if (seconds := re.findall(r"(\d+) s", cells[4]))}
    assert told == {failure.value: rule.cool for failure, rule in RULES.items() if rule.cool}


def test_the_configuration_works() -> None:
    snapshot = loads(CONFIGURATION, name="gateway.yaml", environ=ENVIRON)
    assert set(snapshot.models) == {"assistant", "claude-haiku", "claude-sonnet"}


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--config" in command], ids=" ".join)
def test_what_it_shows_of_a_configuration_can_be_shown(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *command],
        cwd=tmp_path,
        env={**os.environ, **ENVIRON, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, "openai" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("command", SIMULATIONS, ids=" ".join)
def test_its_drills_can_be_played(command: list[str]) -> None:
    command[command.index("--port") + 1] = "0"
    with subprocess.Popen([sys.executable, "-m", "gateway", *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
        process.communicate(timeout=10)
    assert "http://127.0.0.1:" in first
