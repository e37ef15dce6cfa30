"""Redis is frozen, gone, refusing or somebody else. No replica suffers, and notices flow again by themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.secret import Secret
from gateway.store.redis import BACKLOG, LONGEST_PAUSE, RedisNotices
from gateway.store.redis_link import PATIENCE
from tests.house.certificates import Authority, new_authority
from tests.house.scripted import Peer, scripted
from tests.house.valkey import Valkey, free_port, valkey
from tests.stores.replicas import FULL, ILL, WELL, listening, replica, replicas, same, until

LOST = ("warning", "redis_lost")
BACK = ("info", "redis_back")

NOTICED_WITHIN = 2 * PATIENCE + 1.5
"""Seconds, the last of them for a busy machine."""

PASSWORD = "p@ss:w/rd-of-redis"


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as one:
        yield one


async def test_a_frozen_server_is_noticed_and_notices_flow_again_when_it_thaws(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        server.freeze()
        began = time.monotonic()
        one.tell(ILL)
        await until(lambda: other.log == [LOST])
        assert time.monotonic() - began < NOTICED_WITHIN
        server.thaw()
        thawed = time.monotonic()
        assert same(await other.hears(), ILL)
        assert time.monotonic() - thawed < LONGEST_PAUSE + 1
        await until(lambda: one.log == other.log == [LOST, BACK])
        assert other.failed["timeout"] >= 1


@pytest.mark.parametrize("gone", [False, True], ids=["frozen", "gone"])
async def test_closing_does_not_wait_for_a_server_and_leaves_nothing_behind(server: Valkey, gone: bool) -> None:
    before = asyncio.all_tasks()
    async with replicas(server) as (one, other):
        server.kill() if gone else server.freeze()
        one.tell(ILL)
        assert await one.closes() < 0.5
        await until(lambda: bool(other.log))  # in the middle of a try to come back
        assert await other.closes() < 0.5
        assert asyncio.all_tasks() == before


async def test_after_a_restart_everybody_hears_what_was_told_meanwhile(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        server.kill()
        await until(lambda: one.log == other.log == [LOST])
        one.tell(ILL, FULL._replace(seconds=0.01))
        began = time.monotonic()
        server.start()
        heard = await other.hears()
        assert same(heard, ILL)
        assert heard.seconds < ILL.seconds
        assert time.monotonic() - began < LONGEST_PAUSE + 1
        other.tell(FULL)
        assert same(await one.hears(), FULL)
        assert one.log == other.log == [LOST, BACK]
        assert one.failed.keys() == {"connection"}


async def test_what_is_over_before_the_server_is_back_is_not_told(server: Valkey) -> None:
    async with replica(server.url()) as other, replica(server.url(), started=False) as one:
        await listening(server, 1)
        one.tell(FULL._replace(seconds=0.001))
        await asyncio.sleep(0.002)
        one.tell(ILL)
        one.notices.start(one.heard.put_nowait)
        assert same(await other.hears(), ILL)


async def test_a_server_that_is_not_there_at_the_start_is_found_when_it_comes(server: Valkey) -> None:
    server.kill()
    async with replica(server.url()) as one, replica(server.url()) as other:
        one.tell(ILL)
        await until(lambda: one.log == other.log == [LOST])
        server.start()
        assert same(await other.hears(), ILL)
        await until(lambda: one.log == other.log == [LOST, BACK])


async def test_a_lost_server_is_asked_for_less_and_less_often_and_missed_in_the_log_once(server: Valkey) -> None:
    server.kill()
    began = time.monotonic()
    async with replica(server.url()) as one:
        await until(lambda: one.failed["connection"] >= 4)
        assert time.monotonic() - began > 0.1 + 0.2 + 0.4
        one.tell(ILL)
        assert one.log == [LOST]


async def test_a_replica_that_was_cut_off_learns_what_it_missed(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        one.tell(ILL)
        assert same(await other.hears(), ILL)
        await until(lambda: one.log == other.log == [LOST, BACK])


async def test_a_replica_does_not_hear_that_a_target_is_ill_which_it_found_well_meanwhile(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        one.tell(ILL, FULL)
        await until(lambda: server.command("DBSIZE") == 2)
        await one.closes()
        async with replica(server.url(), started=False) as late:
            late.tell(WELL)
            late.notices.start(late.heard.put_nowait)
            assert same(await late.hears(), FULL)
        assert [await other.hears() for _ in range(3)][-1] == WELL


async def test_when_too_much_waits_the_oldest_is_dropped(server: Valkey) -> None:
    async with replica(server.url()) as other, replica(server.url(), started=False) as one:
        await listening(server, 1)
        one.tell(*(ILL._replace(times=n) for n in range(BACKLOG + 3)))
        assert one.failed == {"dropped": 3}
        one.notices.start(one.heard.put_nowait)
        assert [(await other.hears()).times for _ in range(BACKLOG)] == list(range(3, BACKLOG + 3))


async def test_a_read_only_server_is_told_again_when_it_takes_writes(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        server.command("REPLICAOF", "127.0.0.1", free_port())
        one.tell(ILL)
        await until(lambda: one.log == [LOST])
        assert one.failed.keys() == {"refused"}
        server.command("REPLICAOF", "NO", "ONE")
        await until(lambda: one.log == [LOST, BACK])
        assert 0 < server.command("PTTL", "gateway:target:openai:gpt-4o") <= 30_000
        assert same(await other.hears(), ILL)


async def test_a_server_without_memory_still_carries_notices_to_those_who_listen(server: Valkey) -> None:
    async with replicas(server) as (one, other):
        server.command("CONFIG", "SET", "maxmemory", 1)
        one.tell(ILL)
        assert same(await other.hears(), ILL)
        await until(lambda: one.log == [LOST])
        server.command("CONFIG", "SET", "maxmemory", 0)
        await until(lambda: one.log == [LOST, BACK])
        assert other.log == []


async def test_a_password_opens_the_server() -> None:
    with valkey(PASSWORD) as server:
        async with replicas(server) as (one, other):
            one.tell(ILL)
            assert same(await other.hears(), ILL)


async def test_a_wrong_password_is_a_loss_and_is_not_logged() -> None:
    with valkey("another") as server:
        url = Valkey(Path(), PASSWORD)
        url.port = server.port
        async with replica(url.url()) as one:
            one.tell(ILL)
            await until(lambda: one.failed["refused"] >= 2)
            assert one.log == [LOST]
            assert PASSWORD not in one.words
            assert url.url() not in one.words


async def test_a_server_that_quotes_the_password_does_not_get_it_into_the_log() -> None:
    async def quoting(peer: Peer) -> None:
        await peer.reader.read(1024)
        await peer.say(f"-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}'\r\n".encode())

    async with scripted(quoting) as upstream:
        url = Valkey(Path(), PASSWORD)
        url.port = upstream.port
        async with replica(url.url()) as one:
            await until(lambda: one.log == [LOST])
            assert "unknown command" in one.words
            assert PASSWORD not in one.words


async def test_a_server_that_takes_connections_and_says_nothing_is_given_up() -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone(within=30)

    async with scripted(silent) as upstream, replica(f"redis://127.0.0.1:{upstream.port}") as one:
        await until(lambda: one.log == [LOST])
        assert one.failed == {"timeout": 1}


async def test_a_server_that_is_still_loading_is_asked_again_later() -> None:
    async def loading(peer: Peer) -> None:
        while await peer.reader.read(1024):
            await peer.say(b"-LOADING Redis is loading the dataset in memory\r\n")

    async with scripted(loading) as upstream, replica(f"redis://127.0.0.1:{upstream.port}") as one:
        await until(lambda: one.failed["refused"] >= 2)
        assert one.failed.keys() == {"refused"}
        assert one.log == [LOST]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"+OK\r\n" * 50,
        b"*-1\r\n" * 50,
        b"$-1\r\n" * 50,
        b":1\r\n" * 50,
        b"\0" * 99,
    ],
)
async def test_a_server_that_is_no_redis_harms_nobody(answer: bytes) -> None:
    async def somebody_else(peer: Peer) -> None:
        await peer.reader.read(1024)
        await peer.say(answer)

    async with scripted(somebody_else) as upstream, replica(f"redis://127.0.0.1:{upstream.port}") as one:
        one.tell(ILL)
        await until(lambda: one.failed.total() >= 2)
        assert one.log == [LOST]
        assert await one.closes() < 0.5


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis://:hun/ter2@127.0.0.1",
        "redis://user:ter2@[",
        "redis://127.0.0.1?db=hunter2",
        "",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="redis://") as refused:
        RedisNotices(Secret(url), failed=lambda kind: None, event=lambda *_, **__: None)
    assert "ter2" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def behind_tls(server: Valkey, authority: Authority) -> AsyncIterator[str]:
    """The server's address, where it speaks TLS and nothing else."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(carry, "127.0.0.1", 0, ssl=authority.good) as listener:
        yield f"rediss://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
        listener.close()


@pytest.mark.parametrize("option", ["ssl_ca_certs={}", "ssl_cert_reqs=none"])
async def test_tls_is_spoken_with_a_server_that_is_trusted(server: Valkey, authority: Authority, option: str) -> None:
    async with (
        behind_tls(server, authority) as url,
        replica(f"{url}?{option.format(authority.file)}") as one,
        replica(server.url()) as other,
    ):
        await listening(server, 2)
        one.tell(ILL)
        assert same(await other.hears(), ILL)
        server.freeze()
        assert await one.closes() < 0.5
        server.thaw()


async def test_a_certificate_that_nobody_vouches_for_is_a_loss(server: Valkey, authority: Authority) -> None:
    async with behind_tls(server, authority) as url, replica(url) as one:
        await until(lambda: one.log == [LOST])
        assert "certificate" in one.words
