"""`gateway import`, and a start on LiteLLM's own file: what people do who come from there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.house.commands import ROOT, command
from tests.house.harness import PLAIN

CLIENTS_KEY = "sk-the-key-of-a-client-0001"

LITELLM = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_base: http://127.0.0.1:9/v1, api_key: sk-canary-in-clear-0001, rpm: 60}
general_settings:
  master_key: sk-a-master-key-of-the-tests
  database_url: os.environ/DATABASE_URL
"""

OURS = "state: {database: 'sqlite:///gateway.db'}\nproviders: {echo: {type: echo, models: [echo]}}\n"

KEYS = f"""\
token,key_alias,models,rpm_limit,max_budget,budget_duration,blocked
{sha256(CLIENTS_KEY.encode()).hexdigest()},web-app,{{gpt-4o}},600,,,f
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "litellm.yaml").write_text(LITELLM)
    (tmp_path / "keys.csv").write_text(KEYS)
    return tmp_path


@asynccontextmanager
async def served(folder: Path, file: str, **environ: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The gateway as a process on this file, and its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--config", file, "--host", "127.0.0.1", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), **environ},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while b'"ready"' not in (line := await process.stdout.readline()):
                assert line, await process.communicate()
        yield "http://" + line.decode().partition('"address":"')[2].partition('"')[0], process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 20)


async def test_a_file_is_converted_and_what_is_different_is_told(folder: Path) -> None:
    done = await command(folder, "import", "litellm", "litellm.yaml", "-o", "gateway.yaml")
    assert done.status == 0
    assert "litellm.yaml:3:116: changed: model_list[0].litellm_params.rpm: " in done.out
    assert "export OPENAI_API_KEY=...   # as it is in litellm.yaml:3:86" in done.out
    assert "canary" not in done.out + done.err + (folder / "gateway.yaml").read_text()
    again = await command(folder, "import", "litellm", "litellm.yaml", "-o", "gateway.yaml")
    assert (again.status, again.lines) == (1, ["gateway.yaml: cannot be written: File exists"])


async def test_scripts_get_all_of_it_as_json(folder: Path) -> None:
    done = await command(folder, "import", "litellm", "litellm.yaml", "--json")
    assert done.json["ok"] is True
    assert done.json["exports"] == {
        "OPENAI_API_KEY": "litellm.yaml:3:86",
        "LITELLM_MASTER_KEY": "litellm.yaml:5:15",
    }
    assert done.json["counts"]["refused"] == 0
    assert done.json["config"].startswith("# Written by")


async def test_what_is_refused_makes_the_command_fail(folder: Path) -> None:
    (folder / "litellm.yaml").write_text(LITELLM.replace("sk-a-master-key-of-the-tests", "sk-1234"))
    done = await command(folder, "import", "litellm", "litellm.yaml")
    assert done.status == 1
    assert done.out.startswith("# Written by `gateway import litellm`")
    assert "litellm.yaml:5:15: refused: general_settings.master_key: is a key that everyone knows" in done.err


async def test_no_gateway_starts_on_what_is_refused(folder: Path) -> None:
    (folder / "litellm.yaml").write_text(LITELLM.replace("sk-a-master-key-of-the-tests", "sk-1234"))
    started = await command(folder, "serve", "--config", "litellm.yaml")
    assert started.status == 1
    assert started.out.startswith("litellm.yaml:5:15: general_settings.master_key: is a key that everyone knows")


async def test_clients_keep_their_keys_on_litellms_own_file(folder: Path) -> None:
    (folder / "with-keys.yaml").write_text(OURS)
    done = await command(folder, "import", "litellm-keys", "keys.csv", "--config", "with-keys.yaml")
    assert (done.status, done.lines[-1]) == (0, "1 new key: 1 same, 0 changed, 0 unsupported, 0 refused.")
    again = await command(folder, "import", "litellm-keys", "keys.csv", "--config", "with-keys.yaml", "--json")
    assert (again.status, again.json["new"]) == (0, [])
    async with served(folder, "litellm.yaml") as (url, _), httpx.AsyncClient(verify=PLAIN) as client:
        statuses = []
        for key in (CLIENTS_KEY, "sk-a-master-key-of-the-tests", "sk-of-nobody"):
            models = await client.get(f"{url}/v1/models", headers={"authorization": f"Bearer {key}"})
            statuses.append(models.status_code)
            if models.status_code == 200:
                assert [model["id"] for model in models.json()["data"]] == ["gpt-4o"]
    assert statuses == [200, 200, 401]


async def test_a_file_that_is_no_export_is_complained_of(folder: Path) -> None:
    (folder / "with-keys.yaml").write_text(OURS)
    (folder / "keys.csv").write_text("a,b\n1,2\n")
    done = await command(folder, "import", "litellm-keys", "keys.csv", "--config", "with-keys.yaml")
    assert (done.status, done.lines) == (1, ["keys.csv:2:1: has no column token; export whole rows of the table"])


async def test_the_other_commands_take_litellms_own_file_too(folder: Path) -> None:
    commands = (
        ("check", "litellm.yaml"),
        ("explain", "gpt-4o", "--config", "litellm.yaml"),
        ("providers", "list", "--config", "litellm.yaml"),
        ("keys", "create", "ci", "--config", "litellm.yaml"),
        ("usage", "--config", "litellm.yaml"),
    )
    for each in commands:
        done = await command(folder, *each)
        assert (done.status, "litellm.yaml is LiteLLM's: " in done.err) == (0, True), done
    assert (await command(folder, "keys", "list", "--config", "litellm.yaml", "--json")).json["keys"][-1][
        "name"
    ] == "ci"


async def test_what_is_refused_in_litellms_own_file_is_told_by_check_with_its_line(folder: Path) -> None:
    (folder / "litellm.yaml").write_text(LITELLM.replace("sk-a-master-key-of-the-tests", "sk-1234"))
    done = await command(folder, "check", "litellm.yaml")
    assert (done.status, "litellm.yaml:5:15: general_settings.master_key: " in done.out) == (1, True)
