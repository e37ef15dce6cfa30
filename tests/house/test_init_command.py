"""`gateway init`, as someone meets it who has a key of some vendor and no configuration yet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
import yaml

from gateway.cli.starter import starter
from gateway.config.environment import Found, from_environment
from gateway.config.resolve import load, loads
from gateway.config.vendor_table import VENDORS
from gateway.vendors.vendor import Vendor
from tests.house.commands import ROOT, command
from tests.house.harness import gateway

KEY = re.compile(r"sk-[0-9A-Za-z]{43}")
DIGEST = "a" * 64
TOKEN = {"GATEWAY_ADMIN_TOKEN": "a-token-of-my-own-1"}


def init(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, with nothing else in its environment."""
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), **environ}
    arguments = (sys.executable, "-m", "gateway", "init", *arguments)
    return subprocess.run(arguments, cwd=folder, env=bare, capture_output=True, text=True, timeout=30, check=False)


async def test_what_it_writes_is_good_and_the_key_that_it_shows_is_let_in(tmp_path: Path) -> None:
    done = init(tmp_path)
    (key,) = set(KEY.findall(done.stdout))
    assert (done.returncode, done.stderr) == (0, "")
    assert (await command(tmp_path, "check", "gateway.yaml")).status == 0
    text = (tmp_path / "gateway.yaml").read_text()
    ask = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
    async with gateway(text.replace("sqlite:///gateway.db", f"sqlite:///{tmp_path}/gateway.db")) as running:
        answers = [
            await running.client.post("/v1/chat/completions", json=ask, headers={"authorization": f"Bearer {each}"})
            for each in (key, "sk-" + "x" * 43)
        ]
    assert [answer.status_code for answer in answers] == [200, 401]


def test_the_key_is_not_in_the_file_but_its_hash_is(tmp_path: Path) -> None:
    told = orjson.loads(init(tmp_path, "mine.yaml", "--json").stdout)
    text = (tmp_path / "mine.yaml").read_text()
    assert (told["file"], told["name"], bool(KEY.fullmatch(told["key"]))) == ("mine.yaml", "first-app", True)
    assert told["key"] not in text
    assert sha256(told["key"].encode()).hexdigest() in text


def test_it_takes_up_what_the_environment_holds_and_writes_no_secret(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk-of-the-environment", **TOKEN}
    done = init(tmp_path, **environ)
    assert "openai (OPENAI_API_KEY): openai/*, gpt-*" in done.stdout
    snapshot = load(tmp_path / "gateway.yaml", environ)
    assert set(snapshot.providers) == {"openai", "echo"}
    assert [token.name for token in snapshot.admin.tokens] == ["root"]
    text = (tmp_path / "gateway.yaml").read_text()
    assert [value for value in environ.values() if value in text + done.stdout] == []


def test_what_cannot_be_used_is_told_and_stands_in_the_file_as_a_remark(tmp_path: Path) -> None:
    done = init(tmp_path, AZURE_OPENAI_API_KEY="k-1")
    why = "azure: AZURE_OPENAI_API_KEY is set, but the environment variable AZURE_OPENAI_ENDPOINT is not set"
    assert why in done.stdout
    assert f"# {why}" in (tmp_path / "gateway.yaml").read_text()


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("mine")
    done, told = init(tmp_path), init(tmp_path, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "gateway: gateway.yaml is there already, and was left as it is. Name another file.\n"
    assert (told.returncode, orjson.loads(told.stdout)["ok"]) == (1, False)
    assert (tmp_path / "gateway.yaml").read_text() == "mine"


def test_it_writes_nothing_that_would_not_start(tmp_path: Path) -> None:
    done = init(tmp_path, GATEWAY_ADMIN_TOKEN="short")
    assert (done.returncode, "admin.tokens[0].token: is shorter than 16 characters" in done.stdout) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = init(tmp_path, "elsewhere/gateway.yaml")
    assert done.stderr == "gateway: elsewhere/gateway.yaml cannot be written: No such file or directory.\n"


@pytest.mark.parametrize(
    "vendor", [vendor for vendor in VENDORS.values() if vendor.env], ids=lambda vendor: vendor.name
)
def test_every_vendor_that_is_found_makes_a_file_that_works(vendor: Vendor) -> None:
    environ = {vendor.env[0]: "a-key-of-some-vendor", "AWS_REGION": "us-east-1", "AWS_SECRET_ACCESS_KEY": "s"}
    environ |= {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com"}
    _, found = from_environment(environ, ollama=True)
    snapshot = loads(starter(found, DIGEST, with_admin=False), name="gateway.yaml", environ=environ)
    assert {vendor.name, "ollama", "echo"} <= set(snapshot.providers)


def test_everything_that_it_shows_in_comments_works_once_it_is_switched_on() -> None:
    found = [
        Found("openai", "OPENAI_API_KEY", ("openai/*",), {"type": "openai", "api_key": "${OPENAI_API_KEY}"}),
        Found("azure", None, (), {"type": "azure", "base_url": "https://a.b", "api_key": "k", "api_version": "v1"}),
        Found("anthropic", None, ("claude-haiku-4-5",), {"type": "anthropic", "api_key": "k"}),
    ]
    text = starter(found, DIGEST, with_admin=True)
    switched = re.sub(r"^( *)# (?= *(?:- \{|[a-z_]+:))", r"\1", text, flags=re.MULTILINE)
    environ = {"OPENAI_API_KEY": "k", "GATEWAY_ENCRYPTION_KEY": "A" * 43 + "=", **TOKEN}
    snapshot = loads(switched, name="gateway.yaml", environ=environ)
    assert snapshot.default_model == "assistant"
    assert snapshot.admin.encryption
    assert snapshot.state.redis
    (key,) = snapshot.keys.values()
    assert key.budget
    assert key.models == ("gpt-*",)
    assert yaml.safe_load(switched).keys() >= {"server", "state", "admin", "providers", "models", "aliases", "keys"}
