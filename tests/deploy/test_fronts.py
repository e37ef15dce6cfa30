"""Compose, systemd and nginx: what is in `deploy/` for them is taken by them, and does what it says."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import orjson
import trustme
import yaml
from jsonschema.validators import validator_for

from gateway.config.resolve import loads
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.deploy.tools import DEPLOY, compose_schema, nginx, program
from tests.house.harness import KEY, QUESTION, config, gateway
from tests.house.valkey import free_port

COMPOSE = DEPLOY / "compose"
UNIT = DEPLOY / "systemd" / "gateway.service"
FRONT = (DEPLOY / "nginx" / "gateway.conf").read_text()
MOST_EXPOSED = 20
"""Of systemd's own measure, from 0 to 100. An ordinary unit has 96."""


def test_compose_takes_the_file() -> None:
    schema = orjson.loads(compose_schema().read_bytes())
    written = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    assert [error.message for error in validator_for(schema)(schema).iter_errors(written)] == []


def test_everything_that_compose_mounts_is_there() -> None:
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    assert [path for path in mounted if path.startswith(".") and not (COMPOSE / path).exists()] == []


def test_the_example_environment_has_every_variable_that_is_asked_for() -> None:
    given = set(re.findall(r"^(\w+)=", (COMPOSE / "example.env").read_text(), re.MULTILINE))
    given |= set(yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]["gateway"]["environment"])
    asked = (COMPOSE / "compose.yaml").read_text() + (COMPOSE / "config" / "gateway.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", asked)) | {"METRICS_KEY"} == given


def test_the_configuration_of_compose_is_a_good_one_with_and_without_a_provider() -> None:
    text = (COMPOSE / "config" / "gateway.yaml").read_text()
    environ = {"GATEWAY_KEY": KEY, "METRICS_KEY": "m-1", "OPENAI_API_KEY": "", "USE_OPENAI": "false"}
    environ |= {"DATABASE_URL": "postgresql://gateway:x@postgres/gateway", "REDIS_URL": "redis://:x@valkey:6379/0"}
    loads(text, name="gateway.yaml", environ=environ)
    loads(text, name="gateway.yaml", environ=environ | {"OPENAI_API_KEY": "sk-1", "USE_OPENAI": "true"})


def test_systemd_takes_the_unit_and_finds_it_well_confined(tmp_path: Path) -> None:
    analyze = str(program("systemd-analyze"))
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/gateway/bin/gateway", sys.executable))
    verified = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    security = [analyze, "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit)]
    confined = subprocess.run(security, capture_output=True, text=True, check=False)
    assert confined.returncode == 0, confined.stdout.splitlines()[-1]


@contextmanager
def front(folder: Path, upstream: int) -> Iterator[tuple[int, Path]]:
    """nginx with the example, in front of a gateway. Yields its port, and a certificate to trust."""
    authority, port = trustme.CA(), free_port()
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(folder / "gateway.key")
    leaf.cert_chain_pems[0].write_to_path(folder / "gateway.crt")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    example = FRONT.replace("/etc/nginx/tls/", f"{folder}/").replace("/var/log/nginx/", f"{folder}/")
    example = example.replace("127.0.0.1:4000", f"127.0.0.1:{upstream}").replace("listen 443", f"listen {port}")
    example = example.replace("listen [::]:443 ssl;", "")  # not every machine has IPv6
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy"))
    main = folder / "nginx.conf"
    main.write_text(f"daemon off; pid {folder}/pid; events {{}} http {{ {temporary} {example} }}")
    command = [str(nginx()), "-p", str(folder), "-c", str(main), "-e", "stderr"]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert (tried.returncode, "[warn]" in tried.stderr) == (0, False), tried.stderr
    with subprocess.Popen(command) as process:
        try:
            listening(port)
            yield port, folder / "authority.pem"
        finally:
            process.terminate()


def listening(port: int) -> None:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError("nginx does not start")


@asynccontextmanager
async def front_of(folder: Path, upstream: int) -> AsyncIterator[httpx.AsyncClient]:
    """A client that goes through nginx."""
    with front(folder, upstream) as (port, authority):
        trusting = ssl.create_default_context(cafile=authority)
        async with httpx.AsyncClient(base_url=f"https://localhost:{port}", verify=trusting, timeout=10) as client:
            yield client


async def test_through_nginx_streams_flow_ids_stay_and_metrics_are_private(tmp_path: Path) -> None:
    stalling = Faults(stall_after=2)
    async with (
        Simulator(stalling) as upstream,
        gateway(config(upstream.url)) as running,
        front_of(tmp_path, running.port) as client,
    ):
        headers = {"authorization": f"Bearer {KEY}", "x-request-id": "mine-1"}
        body = QUESTION | {"stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.headers["x-request-id"] == "mine-1"
            first = await anext(answer.aiter_bytes())  # comes though the answer never ends: nothing holds it back
            assert first.startswith(b"data: {")
        await upstream.until(lambda: bool(upstream.hangups))  # leaving nginx is leaving the provider
        assert (await client.get("/metrics")).status_code == 404
        assert (await running.client.get("/metrics")).status_code == 200
    (record, *_) = [orjson.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
    assert (record["id"], record["path"]) == ("mine-1", "/v1/chat/completions")
