"""The image's contents, installed by the Dockerfile's own steps and run with the rights that it has in production."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import requires
from itertools import takewhile
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway import __version__
from tests.deploy.image import ROOT, Image, built, ignored
from tests.deploy.tools import program, run
from tests.house.valkey import free_port

KEY = "a-key-of-the-image-000001"
CONFIG = """
server: {{host: 0.0.0.0, port: {port}}}
state: {{database: "sqlite:///gateway.db"}}
providers: {{echo: {{type: echo, models: [echo]}}}}
keys: [{{name: tester, key: "${{GATEWAY_KEY}}"}}]
"""
CALL = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return built(tmp_path_factory.mktemp("image"))


def test_the_dockerfile_is_in_good_order() -> None:
    run(program("hadolint"), "--failure-threshold", "info", ROOT / "Dockerfile")


def test_what_the_dockerfile_copies_is_not_ignored() -> None:
    assert ignored() == []


def test_everything_that_is_installed_has_its_version_chosen() -> None:
    pinned = set(re.findall(r"^([^=#\s]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert dependencies(wanted) - pinned == set()


def test_the_image_holds_the_gateway_and_nothing_to_build_it_with(image: Image) -> None:
    packages = next((image.root / "opt/gateway/lib").glob("python*/site-packages"))
    assert {path.name for path in packages.iterdir() if path.is_dir() and "-" not in path.name} == {"gateway"}
    assert not (image.root / "src").exists()
    version = image.within("gateway", "--version", user="4711:0", environ={})
    assert subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip() == __version__


@pytest.mark.parametrize("user", ["its own", "1000660000:0"])
def test_any_user_of_group_0_can_run_it_on_a_read_only_disk(image: Image, user: str) -> None:
    before = files(image.root)
    with running(image, image.user if user == "its own" else user) as port:
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions", json=CALL, headers={"authorization": f"Bearer {KEY}"}
        )
        assert answer.status_code == 200, answer.text
        well = [word.replace("4000", str(port)) for word in image.healthcheck]
        subprocess.run(image.within(*well, user=image.user, environ={}), check=True, timeout=20)
    data = image.root / "data"
    with closing(sqlite3.connect(data / "gateway.db")) as ledger:
        assert ledger.execute("SELECT key, outcome FROM records").fetchall() == [("tester", "ok")]
    assert files(image.root) == before
    for path in data.iterdir():  # a volume belongs to one user
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_the_image_is_told_as_ill_when_nothing_answers(image: Image) -> None:
    dead = [word.replace("4000", str(free_port())) for word in image.healthcheck]
    done = subprocess.run(image.within(*dead, user=image.user, environ={}), capture_output=True, check=False)
    assert done.returncode == 1


@contextmanager
def running(image: Image, user: str) -> Iterator[int]:
    """The image's command, with a configuration that it cannot write; it has to end well when it is stopped."""
    port = free_port()
    config = image.root / "etc/gateway"
    config.mkdir(parents=True, exist_ok=True)
    (config / "gateway.yaml").write_text(CONFIG.format(port=port))
    command = image.within(*image.entrypoint, *image.command, user=user, environ={"GATEWAY_KEY": KEY})
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            said = list(takewhile(lambda line: '"ready"' not in line, process.stdout))
            assert process.poll() is None, "".join(said)
            yield port
        finally:
            process.send_signal(getattr(signal, image.stop_signal))
            rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest


def files(root: Path) -> set[str]:
    """All but the configuration and the data."""
    return {str(path) for path in root.rglob("*") if path.relative_to(root).parts[0] not in ("etc", "data")}


def dependencies(wanted: list[str]) -> set[str]:
    """The names of these packages, and of all that they need here."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in wanted]
    while waiting:
        package = waiting.pop()
        if (name := canonicalize_name(package.name)) in found:
            continue
        found.add(name)
        for needed in map(Requirement, requires(package.name) or ()):
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in package.extras or {""}):
                waiting.append(needed)
    return found
