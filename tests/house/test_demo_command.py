"""`gateway demo`, as someone meets it who has just installed the gateway."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from openai import NotFoundError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from gateway.cli.demo import TYPES
from gateway.cli.demo_configuration import TEXT
from gateway.config.resolve import loads
from gateway.simulator.api import GRAMMARS

ALL, SMALL, SLOW = "sk-demo-everything", "sk-demo-gpt-4o-only", "sk-demo-three-a-minute"
ADMIN = "demo-admin-token"
CHAT = (
    *("gpt-4o", "gpt-4o-mini", "claude", "nova", "gemini", "command", "mistral", "llama", "qwen", "deepseek"),
    *("failover", "split"),
)
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
LONG: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello " * 300}]
"""With a fifth of a second for each word of the answer, a minute's worth."""

SEEN = {
    "Claude, in OpenAI's format": '"content":"You said: hello"',
    "Gemini, streamed": "data: [DONE]",
    "The first provider is full, the second answers: see x-gateway-attempts": "x-gateway-attempts: 2\r\n",
    "A model on Bedrock calls a tool": '"finish_reason":"tool_calls"',
    "Cohere's embeddings": '"embedding":[0.',
    "What the second key may use": '"data":[{"id":"gpt-4o",',
    "The third key has three calls a minute: the fourth is a 429": "200\n200\n200\n429\n",
    "What Prometheus is told": 'provider="anthropic",type="output"} 3.0',
    "What was used, and what it would have cost": "\ntotal ",
    "Who is well, and which models they list": "\N{CHECK MARK} anthropic    reachable, credentials valid, 2 models",
}
"""What somebody finds who tries a command, by its title."""


@contextmanager
def demo(*options: str, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """The demo on a free port. It is stopped in the end, if it runs still."""
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=20)


@contextmanager
def demo_for_scripts(*options: str, cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """The demo, and what it says of itself in JSON."""
    with demo("--json", *options, cwd=cwd) as process:
        assert process.stdout is not None
        yield process, orjson.loads(process.stdout.readline())


def gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Another command, run to its end."""
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@dataclass(frozen=True)
class Shown:
    """What a demo that runs has printed for people."""

    text: str

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.text)
        assert found
        return found[0]

    @property
    def commands(self) -> dict[str, str]:
        """By title."""
        return dict(re.findall(r"^  # (.+)\n  ((?:.+\n)+)", self.text, re.MULTILINE))

    @property
    def file(self) -> str:
        """Its configuration."""
        return self.text.rpartition("--config ")[2].strip()


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    with demo("--chunk-delay", "1ms") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            if line.startswith("{"):
                break
            lines.append(line)
        yield Shown("".join(lines))


@pytest.fixture(scope="module")
def client(shown: Shown) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{shown.url}/v1", api_key=ALL, max_retries=0) as client:
        yield client


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_each_command_that_is_shown_does_what_it_says(shown: Shown, tmp_path: Path) -> None:
    program = tmp_path / "gateway"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n')
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = {
        title: subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False, env=environ)
        for title, command in shown.commands.items()
    }
    assert {title: SEEN[title] in done.stdout.decode() for title, done in said.items()} == dict.fromkeys(SEEN, True)
    assert [done.stderr for done in said.values() if done.stderr] == []


def test_every_model_answers_the_openai_sdk(client: OpenAI) -> None:
    answers = {model: client.chat.completions.create(model=model, messages=HELLO) for model in CHAT}
    assert {model: answer.choices[0].message.content for model, answer in answers.items()} == dict.fromkeys(
        CHAT, "You said: hello"
    )


def test_every_model_streams_to_the_openai_sdk(client: OpenAI) -> None:
    said = {}
    for model in CHAT:
        with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
            said[model] = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == dict.fromkeys(CHAT, "You said: hello")


def test_the_table_shows_every_model_and_key(shown: Shown, client: OpenAI) -> None:
    models = {model.id for model in client.models.list()}
    assert models == {*CHAT, "embed"}
    words = {tuple(line.split(maxsplit=1)) for line in shown.text.partition("Try it")[0].splitlines()}
    assert models | {ALL, SMALL, SLOW} <= {row[0] for row in words if row}
    rows = {tuple(" ".join(part.split()) for part in row) for row in words}
    assert {
        ("failover", "always-full, then mistral"),
        (ALL, "every model 100 at once, 1,000,000 tokens a day"),
        (SMALL, "gpt-4o $1 an hour"),
        (SLOW, "every model 3 requests a minute"),
    } <= rows


def test_the_failover_takes_two_attempts_every_time(client: OpenAI) -> None:
    for _ in range(2):
        answer = client.chat.completions.with_raw_response.create(model="failover", messages=HELLO)
        assert (answer.headers["x-gateway-attempts"], answer.headers["x-gateway-provider"]) == ("2", "mistral")


def test_the_split_goes_both_ways(shown: Shown) -> None:
    body = {"model": "split", "messages": HELLO}
    with httpx.Client(headers={"authorization": f"Bearer {ALL}"}, trust_env=False) as http:
        answers = [http.post(f"{shown.url}/v1/chat/completions", json=body) for _ in range(80)]
    assert {answer.headers["x-gateway-provider"] for answer in answers} == {"openai", "azure"}


def test_the_small_key_may_use_its_model_and_no_other(client: OpenAI) -> None:
    small = client.with_options(api_key=SMALL)
    assert small.chat.completions.create(model="gpt-4o", messages=HELLO).choices
    with pytest.raises(NotFoundError):
        small.chat.completions.create(model="claude", messages=HELLO)


def test_all_providers_are_well_but_the_one_that_is_full(shown: Shown) -> None:
    told = orjson.loads(gateway("providers", "test", "--json", "--config", shown.file).stdout)
    assert [each["provider"] for each in told["providers"] if not each["ok"]] == ["always-full"]
    assert len(told["providers"]) == len(TYPES) + 1


def test_every_model_that_is_named_is_listed_by_its_provider(shown: Shown) -> None:
    (doubt,) = orjson.loads(gateway("check", "--online", "--json", shown.file).stdout)["warnings"]
    assert doubt["path"] == "providers.always-full"


def test_scripts_are_told_the_same(shown: Shown) -> None:
    with demo_for_scripts() as (_, told):
        assert [each["model"] for each in told["models"]] == [*CHAT[:10], "embed", *CHAT[10:]]
        models = {ALL: [], SMALL: ["gpt-4o"], SLOW: []}
        assert told["keys"] == [{"key": key, "models": may} for key, may in models.items()]
        assert (told["dashboard"], told["admin_token"]) == (f"{told['url']}/dashboard", ADMIN)
        said = [(each["title"], each["command"]) for each in told["commands"]]
    here = [(title, text.replace(told["url"], shown.url).replace(told["config"], shown.file)) for title, text in said]
    assert here == [(title, command.rstrip("\n")) for title, command in shown.commands.items()]


def test_its_dashboard_opens_with_the_token_that_is_shown_and_counts_the_calls(shown: Shown, client: OpenAI) -> None:
    assert f"{shown.url}/dashboard, and opens with the token {ADMIN}." in shown.text
    client.chat.completions.create(model="gpt-4o", messages=HELLO)
    with httpx.Client(base_url=shown.url, headers={"authorization": f"Bearer {ADMIN}"}, trust_env=False) as http:
        assert http.get("/api/whoami").json()["name"] == "root"
        while not (lines := http.get("/api/usage?by=key").json()["lines"]):  # pytest's own timeout bounds it
            time.sleep(0.05)
    assert lines[0]["key"] == "everything"


def test_it_leaves_nothing_in_the_folder_it_was_started_in(tmp_path: Path) -> None:
    with demo_for_scripts(cwd=tmp_path) as (_, told):
        assert Path(told["config"]).with_name("gateway.db").exists()
    assert list(tmp_path.iterdir()) == []
    assert not Path(told["config"]).parent.exists()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=lambda by: by.name)
def test_it_stops_within_seconds_whatever_goes_on(by: signal.Signals) -> None:
    with demo_for_scripts("--chunk-delay", "200ms") as (process, told):
        client = OpenAI(base_url=f"{told['url']}/v1", api_key=ALL, max_retries=0)
        with client, client.chat.completions.create(model="gpt-4o", messages=LONG, stream=True) as stream:
            next(iter(stream))
            process.send_signal(by)
            assert process.wait(15) == 0
    assert not Path(told["config"]).exists()


def test_providers_can_be_made_to_fail() -> None:
    with demo_for_scripts("--fail", "400") as (_, told), httpx.Client(trust_env=False) as http:
        answer = http.post(
            f"{told['url']}/v1/chat/completions",
            json={"model": "claude", "messages": HELLO},
            headers={"authorization": f"Bearer {ALL}"},
        )
    assert answer.status_code == 400


def test_its_configuration_is_one_to_begin_with() -> None:
    text = gateway("demo", "--print-config").stdout
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "http://10.0.0.1/set-by-me")
    keys = {name: f"my-own-key-number-{n}" for n, name in enumerate(variables) if name.endswith("_KEY")}
    snapshot = loads(text, name="gateway.yaml", environ=variables | keys)
    own = [provider for provider in snapshot.providers.values() if "10.0.0.1" not in provider.base_url]
    assert {provider.name for provider in own} == set(TYPES) - {"azure", "openai_compatible"}
    assert all(provider.base_url == provider.vendor.base_url for provider in own if not provider.region)
    assert set(snapshot.models) == {*CHAT, "embed"}


def test_a_port_that_is_taken_is_told_with_a_way_out(shown: Shown) -> None:
    port = shown.url.rpartition(":")[2]
    done = gateway("demo", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use.")
    assert "--port 0" in done.stderr


def test_a_fault_that_is_none_is_told() -> None:
    done = gateway("demo", "--fail", "4x9")
    assert (done.returncode, done.stderr.startswith("gateway: `4x9` is not a fault")) == (2, True)


def test_every_simulator_takes_part() -> None:
    assert {GRAMMARS[type] for type in TYPES} == set(GRAMMARS.values())
    assert all(f"type: {type}," in TEXT or f"type: {type}\n" in TEXT for type in TYPES)


def test_a_simulator_alone_tells_scripts_where_it_is_and_what_it_cannot_play() -> None:
    command = [sys.executable, "-m", "gateway", "simulate", "--json", "--port", "0", "--type"]
    with subprocess.Popen([*command, "anthropic"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = orjson.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(20) == 0
    assert (told["type"], told["url"].startswith("http://127.0.0.1:")) == ("anthropic", True)
    wrong = gateway("simulate", "--json", "--type", "antropic")
    assert (wrong.returncode, wrong.stderr) == (2, "")
    assert "(did you mean `anthropic`?)" in orjson.loads(wrong.stdout)["error"]
