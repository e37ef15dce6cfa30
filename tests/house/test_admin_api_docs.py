"""What docs/admin-api.md shows works, and is all there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.simulator.server import Simulator
from gateway.web.api.refusals import TABLE as REFUSALS
from gateway.web.api.table import TABLE
from tests.house.admin import ENCRYPTION_KEY
from tests.house.harness import Running, gateway

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "admin-api.md").read_text()
(CONFIGURATION,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
EXAMPLES = re.findall(r"^\$ (curl (?:.*\\\n)*.*)\n((?:(?!\$ |```).*\n)+)", DOCUMENT, re.MULTILINE)
ENVIRON = {
    "GATEWAY_ADMIN_TOKEN": "a-long-enough-token-1",
    "FINANCE_TOKEN": "a-long-enough-token-2",
    "CI_TOKEN": "a-long-enough-token-3",
    "GATEWAY_ENCRYPTION_KEY": ENCRYPTION_KEY,
    "OPENAI_API_KEY": "sk-1",
    "VLLM_KEY": "sk-2",
    "WEB_APP_KEY": "a-long-enough-key-1",
}
VLLM = "http://10.0.0.7:8000/v1"
"""Where there is a server, in the document."""
ANYTHING = "..."


async def test_its_examples_answer_as_they_are_shown_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) == DOCUMENT.count("$ curl")
    vllm = Simulator(api_key=ENVIRON["VLLM_KEY"], models=("qwen3-32b",))
    async with vllm, gateway(CONFIGURATION, environ=ENVIRON) as running:
        for command, shown in EXAMPLES:
            found = await answer(running, command.replace(VLLM, vllm.url))
            assert is_like(orjson.loads(shown.replace("\n", "")), found), f"{command}\n{orjson.dumps(found).decode()}"


def test_its_table_has_every_route_with_its_permission() -> None:
    shown = re.findall(r"^\| ([A-Z]+) \| `(/api/\S+)` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert shown == [(row.method, row.path, row.permission or "any valid token") for row in TABLE]


def test_its_table_of_errors_has_every_code() -> None:
    shown = set(re.findall(r"^\| (\d+) \| `([a-z_]+)` \|", DOCUMENT, re.MULTILINE))
    assert {(str(status), code) for status, code in REFUSALS.values()} <= shown


async def answer(running: Running, command: str) -> Any:
    """What curl would print."""
    for name, value in ENVIRON.items():
        command = command.replace(f"${name}", value)
    words = iter(shlex.split(command.replace("\\\n", ""))[1:])
    method, url, body, headers = None, "", None, {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        else:
            url = word.removeprefix("http://127.0.0.1:4000")
    sent = await running.client.request(method or ("POST" if body else "GET"), url, headers=headers, content=body)
    return sent.json()


def is_like(shown: Any, found: Any) -> bool:
    """Whether an answer has everything that is shown of it."""
    if isinstance(shown, dict):
        return isinstance(found, dict) and all(
            name in found and is_like(value, found[name]) for name, value in shown.items()
        )
    if isinstance(shown, list):
        return isinstance(found, list) and len(shown) == len(found) and all(map(is_like, shown, found))
    return shown in (ANYTHING, found)
