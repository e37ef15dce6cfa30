"""What docs/migration.md shows works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from gateway.config.resolve import loads
from gateway.migrate.key_rows import KeyRow
from gateway.sinks.litellm_names import ROWS

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "migration.md").read_text()
KEY = "sk-the-same-key-as-before"
ENVIRON = {
    "AZURE_API_BASE": "https://contoso.openai.azure.com",
    "AZURE_API_KEY": "k-1",
    "OPENAI_API_KEY": "sk-1",
    "ANTHROPIC_API_KEY": "sk-2",
    "LITELLM_MASTER_KEY": "sk-a-master-key-0001",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **ENVIRON, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_its_commands_work_in_their_order_and_its_client_keeps_its_key(tmp_path: Path) -> None:
    (litellm,) = blocks("yaml litellm")
    (tmp_path / "litellm.yaml").write_text(litellm)
    digest = sha256(KEY.encode()).hexdigest()
    (tmp_path / "keys.csv").write_text(f"token,key_alias,models\n{digest},web-app,{{gpt-4o}}\n")
    commands = [shlex.split(line) for line in re.findall(r"^\$ gateway (.*)$", DOCUMENT, re.MULTILINE)]
    assert [command[0] for command in commands] == ["import", "check", "serve", "import", "keys"]
    serve = commands.pop(2)
    for command in commands:
        done = run(tmp_path, "-m", "gateway", *command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert "web-app" in done.stdout
    _serve_and_call(tmp_path, serve)


def _serve_and_call(folder: Path, serve: list[str]) -> None:
    arguments = ["-m", "gateway", *serve[:-1], "0", "--host", "127.0.0.1"]
    environ = {**os.environ, **ENVIRON, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            ready = next(line for line in process.stdout if '"ready"' in line)
            port = re.findall(r'"address":"[^"]*:(\d+)"', ready)[0]
            (program,) = blocks("python")
            done = run(folder, "-c", program.replace(":4001", f":{port}"))
            assert (done.returncode, done.stdout) == (0, "['gpt-4o']\n"), done.stderr
        finally:
            process.terminate()
            process.communicate(timeout=20)


def test_its_switch_is_one() -> None:
    (text,) = blocks("yaml")
    assert loads(text, name="gateway.yaml", environ={}).server.litellm_metrics


def test_every_series_that_it_names_exists() -> None:
    named = set(re.findall(r"`(litellm_[a-z_]+)`", DOCUMENT)) - {"litellm_metrics"}
    assert {name.removesuffix("_total") for name in named} <= {row.name for row in ROWS}


def test_the_columns_that_it_exports_are_those_that_are_read() -> None:
    (query,) = blocks("sql")
    exported = set(re.findall(r"(?:k\.|AS )(\w+)(?=,|\n  FROM|$)", query, re.MULTILINE))
    read = set(re.findall(r'(?:text|list|says|_count|_number|_moment)\((?:row, )?"(\w+)"', _source()))
    assert read - {"budget_id"} <= exported | {"auto_rotate"}
    assert KeyRow(1, {"models": "{a}"}).list("models") == ["a"]


def _source() -> str:
    return (ROOT / "gateway" / "migrate" / "keys.py").read_text()
