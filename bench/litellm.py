"""LiteLLM's proxy for comparison, in an environment of its own, which the first use installs.

One worker with what the gateway has on too: a key, Prometheus metrics and a log in JSON. No database: https://docs.litellm.ai/docs/proxy/configs
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import KEY
from bench.process import ROOT, Server, free_port, proxy_core, running

PACKAGES = ("litellm[proxy]", "prometheus-client")
ENVIRONMENT = ROOT / ".venv-litellm"
CONFIGURATION = """
model_list:
  - model_name: brisk
    litellm_params: {{model: openai/brisk, api_base: "http://127.0.0.1:{upstream_port}/v1", api_key: sk-upstream}}
general_settings: {{master_key: {key}}}
litellm_settings: {{callbacks: [prometheus], json_logs: true}}
"""


def python() -> Path:
    """The interpreter of LiteLLM's environment."""
    interpreter = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "bin" / "litellm").exists():
        print("installing litellm[proxy] ...")
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return interpreter


def version() -> str:
    program = "from importlib.metadata import version; print(version('litellm'))"
    return subprocess.run([python(), "-c", program], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def serving(upstream: Server, folder: Path) -> Iterator[Server]:
    port = free_port()
    file = folder / "litellm.yaml"
    file.write_text(CONFIGURATION.format(upstream_port=upstream.port, key=KEY))
    program = python().with_name("litellm")
    options = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    # Otherwise its start waits for a price list from the network.
    command: list[str | Path] = ["env", "LITELLM_LOG=INFO", "LITELLM_LOCAL_MODEL_COST_MAP=True", program, *options]
    log = folder / "litellm.log"
    with running("litellm", command, port=port, ready="/health/readiness", log=log, cores=proxy_core()) as server:
        yield server
