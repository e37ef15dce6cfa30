"""What the documents say is done here as they say it, so that they stay true."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import cli
from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.vendor_table import VENDORS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ENVIRON = {
    "GATEWAY_ADMIN_TOKEN": "a-token-of-my-own-01",
    "OPENAI_API_KEY": "sk-1",
    "ANTHROPIC_API_KEY": "sk-2",
    "AZURE_KEY": "k-1",
    "WEB_APP_KEY": "a-long-enough-key-1",
}


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The gateway as `make run` starts it, with nothing in its environment."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=bare) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            yield int(first.rsplit(":", 1)[1])
        finally:
            process.terminate()
            process.communicate(timeout=10)
            assert process.returncode == 0


def test_the_readmes_configuration_works() -> None:
    (text,) = blocks(README, "yaml")
    snapshot = loads(text, name="gateway.yaml", environ=ENVIRON)
    assert set(snapshot.models) == {"gpt-4o-mini", "claude-haiku", "small", "gpt-4"}


def test_the_readmes_mistake_is_told_as_it_shows() -> None:
    (text,) = blocks(README, "yaml")
    wrong = text.replace("provider: openai, model: gpt-4o-mini", "provider: opanai, model: gpt-4o-mini")
    with pytest.raises(ConfigError) as refused:
        loads(wrong, name="gateway.yaml", environ=ENVIRON)
    assert str(refused.value.complaints[0]) in README


def test_the_readmes_commands_work_in_their_order(tmp_path: Path) -> None:
    (text,) = blocks(README, "yaml")
    (tmp_path / "gateway.yaml").write_text(text)
    commands = re.findall(r"^\$ gateway (.*)$", "".join(blocks(README, "console")), re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *shlex.split(command)],
            cwd=tmp_path,
            env={**os.environ, **ENVIRON, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_readmes_first_call_is_answered(port: int) -> None:
    (command,) = blocks(README, "sh")
    done = subprocess.run(
        ["sh", "-c", command.replace(":4000", f":{port}")], capture_output=True, text=True, timeout=20, check=True
    )
    assert "hello" in done.stdout


def test_the_readmes_program_runs(port: int) -> None:
    (program,) = blocks(README, "python")
    done = subprocess.run(
        [sys.executable, "-c", program.replace(":4000", f":{port}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "hello" in done.stdout) == (0, True), done.stderr


def test_every_vendor_is_in_the_readme() -> None:
    assert [name for name in VENDORS if f"`{name}`" not in README] == []


def test_the_vendor_row_that_contributors_are_shown_is_one() -> None:
    from gateway.config.vendor_table import read_vendors

    (row,) = blocks(CONTRIBUTING, "yaml")
    assert set(read_vendors(row)) == {"acme"}


COMMANDS = (
    *("init", "demo", "check", "serve", "explain", "usage", "simulate", "providers list", "providers test"),
    *("providers models", "keys create", "keys update", "keys list", "keys rotate", "keys revoke", "secrets rotate"),
    *("import litellm", "import litellm-keys"),
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_can_be_asked_for_json(name: str) -> None:
    said = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="gateway")
    assert (said.exit_code, f"Usage: gateway {name} " in said.stdout, "--json" in said.stdout) == (0, True, True)


def test_every_command_is_tried() -> None:
    told = CliRunner().invoke(cli, ["--help"], prog_name="gateway").stdout
    assert set(re.findall(r"^│ ([a-z]+) ", told, re.MULTILINE)) == {name.split()[0] for name in COMMANDS}


def test_it_calls_itself_by_one_name_however_it_was_started() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "chekc"], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, "Usage: gateway " in done.stderr) == (2, True)
