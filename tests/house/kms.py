"""AWS KMS as moto plays it: a server of its own process, which speaks the real protocol to real clients."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import botocore.session

REGION = "eu-central-1"

STARTS_WITHIN = 30.0
"""Seconds."""


@dataclass(frozen=True)
class KeyService:
    """KMS, and a client of botocore's to arrange things with."""

    url: str
    client: Any

    def new_key(self, alias: str) -> str:
        """Makes a key that an alias leads to, and gives its ARN."""
        metadata = self.client.create_key()["KeyMetadata"]
        self.client.create_alias(AliasName=alias, TargetKeyId=metadata["KeyId"])
        arn: str = metadata["Arn"]
        return arn


@contextmanager
def key_service() -> Iterator[KeyService]:
    """KMS, on this machine until the end."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port, process)
        url = f"http://127.0.0.1:{port}"
        session = botocore.session.get_session()
        client = session.create_client(
            "kms", REGION, endpoint_url=url, aws_access_key_id="AKIATEST", aws_secret_access_key="secret"
        )
        yield KeyService(url, client)
        client.close()
    finally:
        process.kill()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until:
        assert process.poll() is None, "moto's server has ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError("moto's server does not answer")
