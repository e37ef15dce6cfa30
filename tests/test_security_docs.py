"""What docs/security.md shows works, and each test that it names is there."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from base64 import b64encode
from pathlib import Path

import orjson
import pytest

from gateway.config.resolve import loads
from gateway.config.snapshot import Kms

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
ENVIRON = {
    "GATEWAY_ENCRYPTION_KEY": b64encode(bytes(32)).decode(),
    "NEW_ENCRYPTION_KEY": b64encode(bytes([1]) * 32).decode(),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def test_its_configurations_can_be_read() -> None:
    own, kms, rotated = (loads(text, name="g", environ=ENVIRON).admin for text in blocks("yaml"))
    assert kms.encryption == Kms("alias/gateway", "eu-central-1")
    assert rotated.previous == (own.encryption,)
    assert own.encryption


def test_its_policy_is_json() -> None:
    (policy,) = map(orjson.loads, blocks("json"))
    assert policy["Action"] == ["kms:GenerateDataKey", "kms:Decrypt"]


async def test_its_commands_work(tmp_path: Path) -> None:
    *_, rotated = blocks("yaml")
    (tmp_path / "gateway.yaml").write_text(rotated)
    (tmp_path / "gateway.db").touch()
    commands = re.findall(r"^\$ gateway (.*)$", DOCUMENT, re.MULTILINE)
    assert commands
    for command in commands:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *shlex.split(command)),
            cwd=tmp_path,
            env={**os.environ, **ENVIRON, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        assert b"Nothing needs admin.previous_encryption_keys any more" in out


TESTS = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", DOCUMENT))))
def test_what_it_promises_is_tested(name: str) -> None:
    assert re.search(rf"def {name}\(", TESTS)
