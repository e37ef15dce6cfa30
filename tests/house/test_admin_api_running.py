"""Reading the configuration once more over HTTP, and what happens when something is in the way: on a real socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from gateway.admin.service import NotDone
from gateway.app.upstreams import look
from gateway.config.read import ConfigError
from gateway.config.resolve import Loaded, loads_all
from gateway.config.snapshot import Snapshot
from gateway.core.errors import Overloaded
from gateway.core.secret import Secret
from gateway.routing.board import Board
from gateway.store.archive import Archive
from gateway.web.api import routes
from gateway.web.api.desk import Desk, Reload, Status, Threads
from gateway.web.app import with_request_id
from gateway.web.server import running
from tests.house.admin import ROOT
from tests.house.harness import PLAIN
from tests.stores.books import NOON

TEXT = f"""
admin: {{tokens: [{{name: root, token: {ROOT}, permissions: ["*"]}}]}}
providers: {{echo: {{type: echo, models: [m]}}}}
"""


def snapshot(more: str = "") -> Snapshot:
    return written(more).snapshot


def written(more: str = "") -> Loaded:
    return loads_all(TEXT + more, name="gateway.yaml", environ={})


@dataclass
class House:
    """A gateway, as far as the API knows it."""

    snapshot: Snapshot = field(default_factory=snapshot)
    status: Status = field(default_factory=lambda: Status("gateway.yaml", NOON - 60.0))
    text: str = "aliases: {gpt-4: m}\n"
    """What is added to its file."""
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    crashed: list[BaseException] = field(default_factory=list)

    def say(self, level: str, event: str, **details: Any) -> None:
        self.log.append((event, details))

    async def reload(self) -> Reload:
        self.snapshot = snapshot(self.text)
        done = Reload(NOON, self.snapshot.digest)
        self.status = Status("gateway.yaml", NOON, done)
        return done

    def desk(self, **other: Any) -> Desk:
        given: dict[str, Any] = {
            "snapshot": lambda: self.snapshot,
            "written": written,
            "board": Board(lambda: 0.0, lambda: 0.0),
            "clock": lambda: 0.0,
            "now": lambda: float(NOON),
            "say": self.say,
            "crashed": lambda id, error: self.crashed.append(error),
            "look": look,
            "status": lambda: self.status,
            "reload": self.reload,
        }
        return Desk(**{**given, **other})


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    app = with_request_id(Starlette(routes=routes(desk)), desk.now)
    headers = {"authorization": f"Bearer {ROOT}"}
    async with (
        running(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api", headers=headers, verify=PLAIN) as client,
    ):
        yield client


async def test_a_configuration_that_is_read_once_more_is_in_force_and_in_the_audit_log(tmp_path: Path) -> None:
    house = House()
    before = house.snapshot.digest
    archive = Archive(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    async with served(house.desk(archive=archive)) as client:
        done = await client.post("/reload")
        told = (await client.get("/config")).json()
        (deed,) = (await client.get("/audit")).json()["audit"]
    archive.close()
    after = house.snapshot.digest
    assert (done.status_code, done.json()["changed"], done.json()["hash"], after == before) == (200, True, after, False)
    assert (told["file"], told["since"], told["age_seconds"]) == ("gateway.yaml", "2027-01-15T12:00:00Z", 0.0)
    assert told["last_reload"] == {"time": "2027-01-15T12:00:00Z", "ok": True, "hash": after, "complaints": []}
    assert told["configuration"]["aliases"] == {"gpt-4": "m"}
    assert (deed["action"], deed["subject"], deed["who"]) == ("config.reload", "gateway.yaml", "root")
    assert deed["changes"] == [{"field": "hash", "before": before, "after": after}]


async def test_without_a_database_a_reload_is_in_the_log_alone() -> None:
    house = House()
    async with served(house.desk()) as client:
        assert (await client.post("/reload")).status_code == 200
    assert [event for event, _ in house.log] == ["admin_change", "audit_without_database"]


async def test_a_configuration_that_cannot_be_used_is_refused_with_every_line_and_column() -> None:
    house = House(text="aliases: {gpt-4: n}\nkees: []\n")
    before = house.snapshot
    async with served(house.desk()) as client:
        answer = await client.post("/reload")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], house.log) == (400, "configuration_refused", [])
    assert house.snapshot is before
    assert (error["param"], error["message"].count("\n")) == ("aliases.gpt-4", 1)
    assert error["details"][1:] == [
        {
            "file": "gateway.yaml",
            "line": 5,
            "column": 1,
            "path": "kees",
            "message": "is not a field here (did you mean `keys`?)",
        }
    ]


@pytest.mark.parametrize(("error", "code"), [(NotDone("There is no file."), "not_done"), (None, "not_done")])
async def test_where_there_is_nothing_to_read_it_is_said(error: Exception | None, code: str) -> None:
    async def reload() -> Reload:
        raise error or AssertionError

    async with served(House().desk(reload=reload if error else None)) as client:
        answer = await client.post("/reload")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, code)


async def test_a_reload_that_failed_is_told_with_the_configuration_that_stayed() -> None:
    house = House()
    with pytest.raises(ConfigError) as refused:
        snapshot("kees: []\n")
    house.status = Status("gateway.yaml", NOON - 60.0, Reload(NOON, complaints=refused.value.complaints))
    async with served(house.desk()) as client:
        told = (await client.get("/config")).json()
    assert (told["age_seconds"], told["last_reload"]["ok"], told["last_reload"]["hash"]) == (60.0, False, None)
    assert [each["line"] for each in told["last_reload"]["complaints"]] == [4]


async def test_a_database_that_is_away_is_told_as_such_and_asked_again_the_next_time(tmp_path: Path) -> None:
    archive = Archive(Secret(f"sqlite:///{tmp_path}/not-yet/gateway.db"))
    async with served(House().desk(archive=archive)) as client:
        away = await client.get("/keys")
        (tmp_path / "not-yet").mkdir()
        back = await client.get("/keys")
    archive.close()
    assert (away.status_code, away.json()["error"]["code"]) == (503, "database_away")
    assert away.json()["error"]["type"] == "server_error"
    assert back.status_code == 200


async def test_a_defect_is_told_without_its_details_and_found_in_the_log() -> None:
    house = House()

    def broken() -> Status:
        raise RuntimeError("canary")

    async with served(house.desk(status=broken)) as client:
        answer = await client.get("/config")
    assert (answer.status_code, answer.json()["error"]["code"], "canary" in answer.text) == (
        500,
        "internal_error",
        False,
    )
    assert [str(error) for error in house.crashed] == ["canary"]


async def test_whoever_comes_when_too_many_wait_for_the_database_is_refused_and_the_others_are_not() -> None:
    threads, gate = Threads(at_once=1, waiting=1), threading.Event()
    done: list[bool] = []

    async def waits() -> None:
        done.append(await threads.run(lambda: gate.wait(10)))

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(waits())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await threads.run(lambda: None)
        gate.set()
    assert done == [True, True]
    await threads.run(lambda: None)


def test_a_gateway_without_a_database_does_not_load_what_reads_one() -> None:
    program = "import sys, gateway.app; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
