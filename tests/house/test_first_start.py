"""`gateway serve` without a configuration file, as `make run` starts it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx

from gateway.config.snapshot import PERMISSIONS
from tests.house.commands import ROOT
from tests.house.harness import PLAIN


async def test_it_says_where_the_dashboard_is_and_with_which_token_one_signs_in(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            said = (await process.stdout.readuntil(b'"ready"')).decode()
        url, token = re.findall(r"http://127\.0\.0\.1:\d+", said)[0], re.findall(r"sign in with (\S+),", said)[0]
        assert f"dashboard on {url}/dashboard" in said
        async with httpx.AsyncClient(base_url=url, verify=PLAIN) as client:
            whoami = await client.get("/api/whoami", headers={"authorization": f"Bearer {token}"})
            assert (await client.get("/api/whoami")).status_code == 401
            assert (await client.get("/dashboard")).status_code == 200
        assert set(whoami.json()["permissions"]) == set(PERMISSIONS)
    finally:
        process.terminate()
        await process.wait()
