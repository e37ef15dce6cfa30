"""The configuration is changed while calls run: by rename, by another target of a link, by a signal, by request."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from weakref import WeakSet

import httpx
import orjson

from gateway.app.reload import Source
from gateway.config.resolve import Loaded, load_all
from gateway.engine.house import House
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, Running, config, gateway
from tests.house.replicas import Replica, eventually, replica
from tests.house.test_hangup import until
from tests.house.test_outage_under_load import PACE, configuration, crowd

BROKEN: tuple[Callable[[str], str], ...] = (
    lambda good: good.replace("provider: a", "provider: nobody"),
    lambda good: good + "a line without a colon\n",
    lambda good: good + "defaults: [\n",
    lambda good: "",
    lambda good: good + "modles: {}\n",
)
"""What a person, or a disk, makes of a file."""

ROOT_TOKEN = "root-token-of-the-test-suite"

Put = Callable[[Path, str], None]


def rename(file: Path, text: str) -> None:
    """As editors and `mv` do."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def link(file: Path, text: str) -> None:
    """As Kubernetes does with a ConfigMap: the file is a link into a folder, which is a link to a folder of its own."""
    data, number = file.parent / "..data", len(list(file.parent.iterdir()))
    folder = file.parent / f"..{number}"
    folder.mkdir()
    (folder / file.name).write_text(text)
    new = file.parent / "..data_new"
    new.symlink_to(folder.name)
    new.replace(data)
    if not file.is_symlink():
        file.unlink(missing_ok=True)
        file.symlink_to(Path(data.name, file.name))


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def source(file: Path, every: float = 0.02) -> Source:
    return Source(file, lambda: load_all(file, {}), every=every)


def readings(running: Running) -> dict[str, float]:
    """How often the file was read, by how it went."""
    return {result: cell.value for (result,), cell in running.gateway.metrics.reloads.series.items()}


async def put(running: Running, file: Path, text: str, way: Put) -> None:
    """Replaces the file, and waits until it has been read."""
    before = sum(readings(running).values())
    way(file, text)
    await until(lambda: sum(readings(running).values()) > before, within=20)


async def test_streams_do_not_notice_that_the_file_is_changed_fifty_times_twenty_of_them_broken(tmp_path: Path) -> None:
    a, b = Simulator(PACE, coalesce=0), Simulator(PACE, coalesce=0, type="anthropic")
    file = tmp_path / "gateway.yaml"
    async with a, b:
        good = configuration(a, b)
        file.write_text(good)
        async with gateway(good, source=source(file)) as running:
            async with crowd(running, streams=300) as clients:
                await until(lambda: clients.served["a"] > 100 and clients.served["b"] > 100, within=20)
                houses = await change_fifty_times(running, file, good)
                carried = sum(clients.served.values())
                await until(lambda: sum(clients.served.values()) > carried + 300, within=20)
            assert (clients.wrong, sum(clients.broken.values())) == ([], 0)
            assert readings(running) == {"ok": 30, "failed": 20}
            await only_one_is_left(houses)
            assert len(a.requests) + len(b.requests) > 0
            assert all(entry.outcome == "ok" for entry in running.entries)


async def change_fifty_times(running: Running, file: Path, good: str) -> WeakSet[House]:
    """All houses that calls came to meanwhile, as far as they are still there."""
    broken, served, houses = cycle(BROKEN), good, WeakSet([running.gateway.live.house])
    for number in range(50):
        way = rename if number < 25 else link
        if number % 5 in (1, 3):
            await put(running, file, next(broken)(good), way)
            status = running.gateway.reload.status()
            assert status.last_reload is not None
            assert status.last_reload.complaints
        else:
            served = f"{good}\naliases: {{alias-{number}: m}}\n"
            await put(running, file, served, way)
            assert running.gateway.live.house.snapshot.model(f"alias-{number}") is not None
        assert running.gateway.live.house.snapshot.digest == sha256(served.encode()).hexdigest()
        houses.add(running.gateway.live.house)
    return houses


async def only_one_is_left(houses: WeakSet[House]) -> None:
    """Of all that were live. The objects of each take some hundred kilobytes."""
    async with asyncio.timeout(60):
        while len(houses) > 1:
            await asyncio.sleep(0.1)
            gc.collect()


async def test_connections_to_providers_that_stay_as_they_are_stay_open(tmp_path: Path) -> None:
    async with Simulator() as kept, Simulator() as changed:
        file = tmp_path / "gateway.yaml"
        text = config(kept.url, changed.url)
        file.write_text(text)
        async with gateway(text, source=source(file)) as running:
            ways = running.gateway.live.house.upstreams
            await put(running, file, text.replace("api_key: sk-1", "api_key: sk-another"), rename)
            assert running.gateway.live.house.upstreams["p0"] is ways["p0"]
            assert running.gateway.live.house.upstreams["p1"] is not ways["p1"]
            assert (ways["p0"].houses, ways["p1"].houses) == (1, 0)
            answer = await running.client.post("/v1/chat/completions", json=QUESTION)
            assert answer.status_code == 200


async def test_a_call_ends_on_the_connection_that_it_began_on_though_its_provider_has_changed(tmp_path: Path) -> None:
    async with Simulator(Faults(chunk_delay=0.05), coalesce=0) as upstream:
        file = tmp_path / "gateway.yaml"
        text = config(upstream.url)
        file.write_text(text)
        async with gateway(text, source=source(file)) as running:
            asking = asyncio.get_running_loop().create_task(
                running.client.post("/v1/chat/completions", json={**QUESTION, "stream": True}, timeout=20)
            )
            await until(lambda: upstream.received == 1)
            houses = WeakSet([running.gateway.live.house])
            await put(running, file, text.replace("api_key: sk-0", "api_key: sk-another"), rename)
            houses.add(running.gateway.live.house)
            assert (await asking).text.endswith("data: [DONE]\n\n")
            await only_one_is_left(houses)


async def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    text = config("http://127.0.0.1:9")
    file.write_text(text)
    async with gateway(text, source=source(file, every=0.3)) as running:
        more = text + "aliases: {first: m}\n"
        for length in range(len(text) // 2, len(more), 20):  # most of these are configurations, too
            file.write_text(more[:length])
            await asyncio.sleep(0.01)
        await put(running, file, more, in_place)
        assert readings(running) == {"ok": 1, "failed": 0}
        assert running.gateway.live.house.snapshot.model("first") is not None


async def test_complaints_are_told_in_log_metric_and_api_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    text = config("http://127.0.0.1:9", extra=admin("config.view, config.reload"))
    file.write_text(text)
    async with gateway(text, source=source(file, every=60)) as running:
        line = text.count("\n") + 1
        file.write_text(text + "aliases: {first: nobody}\n")
        answer = await ask(running.client, "POST", "/api/reload")
        assert answer.status_code == 400
        assert [(each["line"], each["column"]) for each in answer.json()["error"]["details"]] == [(line, 18)]
        told = (await ask(running.client, "GET", "/api/config")).json()["last_reload"]
        assert [(each["line"], each["column"]) for each in told["complaints"]] == [(line, 18)]
        assert 'gateway_config_reloads_total{result="failed"} 1.0' in (await running.client.get("/metrics")).text
        file.write_text(text + "aliases: {first: m}\n")
        answer = await ask(running.client, "POST", "/api/reload")
        assert (answer.status_code, answer.json()["changed"]) == (200, True)
        assert (await ask(running.client, "GET", "/api/config")).json()["last_reload"]["complaints"] == []
    refused = next(line for line in map(orjson.loads, running.log.splitlines()) if line["event"] == "config_refused")
    assert f"{file}:{line}:18:" in refused["complaints"][0]


async def test_a_defect_in_reading_one_file_does_not_keep_the_next_from_being_read(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    text = config("http://127.0.0.1:9")
    file.write_text(text)
    defects = iter([RuntimeError("of this reading")])

    def read() -> Loaded:
        for defect in defects:
            raise defect
        return load_all(file, {})

    async with gateway(text, source=Source(file, read, every=0.02)) as running:
        await put(running, file, text + "# one change\n", rename)
        await put(running, file, text + "aliases: {first: m}\n", rename)
        assert readings(running) == {"ok": 1, "failed": 1}
        assert running.gateway.live.house.snapshot.model("first") is not None


async def test_what_came_out_of_the_environment_cannot_be_read_once_more() -> None:
    text = config("http://127.0.0.1:9", extra=admin("config.reload"))
    async with gateway(text) as running:
        answer = await ask(running.client, "POST", "/api/reload")
        assert answer.status_code == 409
        assert "without a configuration file" in answer.json()["error"]["message"]


async def test_what_is_only_looked_at_when_the_gateway_starts_is_named(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    text = config("http://127.0.0.1:9")
    file.write_text(text)
    async with gateway(text, source=source(file)) as running:
        await put(running, file, text + "server: {port: 1}\nstate: {redis: 'redis://127.0.0.1:1'}\n", rename)
    [told] = [line for line in map(orjson.loads, running.log.splitlines()) if line["event"] == "restart_needed"]
    assert told["changed"] == ["server.port", "state"]


async def test_a_signal_has_the_file_read_once_more(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(config("http://127.0.0.1:9"))
    async with replica(tmp_path) as process:
        process.process.send_signal(signal.SIGHUP)
        await eventually(lambda: has_read(process, "ok"))


async def test_no_reload_opens_the_gateway_to_everyone_who_can_reach_it(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    text = config("http://127.0.0.1:9")
    file.write_text(text)
    async with replica(tmp_path, "--host", "0.0.0.0") as process:
        rename(file, text[: text.index("keys:")])
        await eventually(lambda: has_read(process, "failed"))
        assert (await process.client.get("/v1/models")).status_code == 401


async def has_read(process: Replica, result: str) -> bool:
    return await process.shows("gateway_config_reloads_total", result=result) == 1


def admin(permissions: str) -> str:
    return f"admin: {{tokens: [{{name: root, token: {ROOT_TOKEN}, permissions: [{permissions}]}}]}}\n"


async def ask(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    return await client.request(method, path, headers={"authorization": f"Bearer {ROOT_TOKEN}"})
