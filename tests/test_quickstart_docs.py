"""What docs/quickstart.md shows works, in its order, with nothing in the environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.config.resolve import loads

ROOT = Path(__file__).parent.parent
BEFORE, TWO_PROVIDERS = (ROOT / "docs" / "quickstart.md").read_text().split("## Two providers")
ENVIRON = {
    "OPENAI_API_KEY": "sk-1",
    "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com",
    "AZURE_OPENAI_API_KEY": "k-1",
    "ANTHROPIC_API_KEY": "sk-2",
    "GATEWAY_KEY": "a-key-of-my-own-0001",
    "GATEWAY_ADMIN_TOKEN": "a-token-of-my-own-01",
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^\$ gateway (.*)$", text, re.MULTILINE)]


@dataclass(frozen=True)
class Place:
    """A folder, and what the environment holds there."""

    folder: Path
    environ: dict[str, str]
    port: str = ""

    def run(self, *arguments: str) -> str:
        """Runs a program to its end, which must be a good one. What it printed."""
        done = subprocess.run(
            arguments, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def gateway(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "gateway", *arguments)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The gateway, as the first three commands leave it, and the key that was shown."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    begun = Place(tmp_path_factory.mktemp("quickstart"), bare)
    init, check, serve, *_ = commands(BEFORE)
    (key,) = set(re.findall(r"sk-[0-9A-Za-z]{43}", begun.gateway(*init)))
    begun.gateway(*check)
    command = [sys.executable, "-m", "gateway", *serve, "--port", "0"]
    with subprocess.Popen(command, cwd=begun.folder, env=bare, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = next(line for line in process.stdout if '"ready"' in line)
            (port,) = re.findall(r'"address":"[^"]*:(\d+)"', ready)
            yield replace(begun, environ={**bare, "GATEWAY_KEY": key}, port=port)
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_its_call_is_answered(place: Place) -> None:
    (call,) = blocks(BEFORE, "sh")
    assert '"content":"You said: hello"' in place.run("sh", "-c", call.replace(":4000", f":{place.port}"))


def test_its_program_runs(place: Place) -> None:
    (program,) = blocks(BEFORE, "python")
    assert place.run(sys.executable, "-c", program.replace(":4000", f":{place.port}")) == "You said: hello"


def test_its_other_commands_work_while_the_gateway_runs(place: Place) -> None:
    said = [place.gateway(*command) for command in commands(BEFORE)[3:]]
    assert "120 requests a minute" in said[-1]


def test_its_two_providers_are_a_configuration_that_is_explained(tmp_path: Path) -> None:
    configuration, _ = blocks(TWO_PROVIDERS, "yaml")
    (tmp_path / "gateway.yaml").write_text(configuration)
    place = Place(tmp_path, {**os.environ, **ENVIRON, "PYTHONPATH": str(ROOT)})
    explained, listed = (place.gateway(*command) for command in commands(TWO_PROVIDERS))
    assert "75%" in explained
    assert "claude-haiku" in explained
    assert "https://mine.openai.azure.com" in listed


def test_its_admin_token_can_be_added_to_it() -> None:
    configuration, admin = blocks(TWO_PROVIDERS, "yaml")
    assert loads(configuration + admin, name="gateway.yaml", environ=ENVIRON).admin.tokens
