"""What the documents say is done here as they say it, so that they stay true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.vendor_table import VENDORS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ENVIRON = {
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


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_file_that_a_document_points_to_is_there(document: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("option", ["serve", "check", "simulate", "providers", "demo", "explain", "usage", "keys"])
def test_every_command_explains_itself(option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", option, "--help"], capture_output=True, text=True, timeout=20, check=True
    )
    assert "Usage" in done.stdout
