"""Files from the web: how they are asked for, how much of them is taken, and what is none."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from gateway.upstream.media import UNREACHABLE, Limits
from tests.house.certificates import Authority, new_authority
from tests.house.scripted import Peer, Script, saying, turns, until
from tests.house.web import NAME, PNG, answer, asking, data_url, fetcher, files, refused, web


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


async def test_a_linked_image_is_in_the_request_itself(authority: Authority) -> None:
    async with web(authority, saying(answer(PNG))) as (upstream, url):
        assert files(await fetcher(authority).inline(asking(url))) == [data_url("image/png", PNG)]
        await upstream.all_left(2.0)


async def test_a_request_that_links_to_nothing_is_returned_as_it_is(authority: Authority) -> None:
    body = asking("data:image/png;base64,iVBORw0KGgo=")
    assert await fetcher(authority).inline(body) is body


def test_httpx_is_not_loaded_until_something_is_fetched() -> None:
    program = "import sys, gateway.upstream.media; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_the_server_is_told_which_file_is_wanted_and_nothing_more(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with web(authority, saying(answer(PNG))) as (upstream, url):
        await fetcher(authority).inline(asking(url))
        (request,) = upstream.requests
        assert request.line == b"GET /cat.png?size=1 HTTP/1.1"
        assert {name.lower() for name in request.headers} == {b"host", b"accept", b"accept-encoding", b"user-agent"}
        assert request.headers[b"host"] == f"{NAME}:{upstream.port}".encode()
        assert upstream.peers[0].writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_what_is_linked_twice_is_fetched_once(authority: Authority) -> None:
    async with web(authority, saying(answer(PNG))) as (upstream, url):
        assert files(await fetcher(authority).inline(asking(url, url))) == [data_url("image/png", PNG)] * 2
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("said", "file", "type"),
    [
        ("IMAGE/PNG; charset=binary", PNG, "image/png"),
        ("image/png", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("binary/octet-stream", PNG, "image/png"),
        ("application/octet-stream", b"%PDF-1.7", "application/pdf"),
        ("image/jpg", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("image/gif", b"GIF89a", "image/gif"),
        ("image/x-icon", b"RIFF\n\0\0\0WEBPVP8 ", "image/webp"),
        ("application/pdf", b"%PDF-1.7", "application/pdf"),
        ("text/plain;charset=utf-8", b"hello", "text/plain"),
        ("audio/mpeg", b"ID3", "audio/mpeg"),
        ("video/mp4", b"\0\0\0 ftyp", "video/mp4"),
    ],
)
async def test_the_type_is_the_servers_but_an_images_own_bytes_decide(
    authority: Authority, said: str, file: bytes, type: str
) -> None:
    async with web(authority, saying(answer(file, said))) as (_, url):
        assert files(await fetcher(authority).inline(asking(url))) == [data_url(type, file)]


async def test_files_are_fetched_at_the_same_time_but_only_so_many(authority: Authority) -> None:
    waiting = most = 0

    async def script(peer: Peer) -> None:
        nonlocal waiting, most
        await peer.request()
        waiting += 1
        most = max(most, waiting)
        await until(lambda: most >= 2)
        await turns(50)
        waiting -= 1
        await peer.say(answer(PNG))

    async with web(authority, script) as (upstream, url):
        urls = [f"{url}&n={n}" for n in range(6)]
        await fetcher(authority, limits=Limits(at_once=2)).inline(asking(*urls))
        assert len(upstream.requests) == 6
        assert most == 2


async def test_all_requests_together_keep_only_so_many_connections(authority: Authority) -> None:
    waiting = most = 0

    async def script(peer: Peer) -> None:
        nonlocal waiting, most
        await peer.request()
        waiting += 1
        most = max(most, waiting)
        await turns(50)
        waiting -= 1
        await peer.say(answer(PNG))

    async with web(authority, script) as (_, url):
        media = fetcher(authority, limits=Limits(connections=1))
        await asyncio.gather(*(media.inline(asking(url)) for _ in range(4)))
        assert most == 1


async def test_leaving_in_the_middle_closes_the_connection(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with web(authority, script) as (upstream, url):
        fetching = asyncio.ensure_future(fetcher(authority).inline(asking(url)))
        await until(lambda: bool(upstream.requests))
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await upstream.all_left(2.0)


@pytest.mark.parametrize("head", ["content-length: 100000000", "transfer-encoding: chunked"])
async def test_a_file_that_is_too_large_is_not_read_to_its_end(authority: Authority, head: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{head}\r\n\r\n".encode())
        while True:
            await peer.say(b"10000\r\n" + bytes(65536) + b"\r\n")

    async with web(authority, script) as (upstream, url):
        failed = await refused(fetcher(authority, limits=Limits(file_bytes=2**20)), url)
        assert failed.message.endswith(": it is larger than 1 MiB.")
        await upstream.all_left(2.0)


async def test_the_files_of_a_request_are_counted_together_as_often_as_they_are_linked(authority: Authority) -> None:
    async with web(authority, saying(answer(PNG))) as (_, url):
        media = fetcher(authority, limits=Limits(request_bytes=3 * len(PNG)))
        await media.inline(asking(url, url, url))
        failed = await refused(media, url, url, url, url)
        assert "the files of this request are larger than" in failed.message
        failed = await refused(media, url, url, f"{url}&n=1", f"{url}&n=2")
        assert "the files of this request are larger than" in failed.message


async def test_too_many_links_are_refused_before_any_is_followed(authority: Authority) -> None:
    async with web(authority, saying(answer(PNG))) as (upstream, url):
        failed = await refused(fetcher(authority, limits=Limits(files=2)), url, url, url)
        assert failed.message == "A request can link to at most 2 files, not 3."
        assert failed.param == "messages[0].content[3]"
        assert not upstream.peers


async def stalling_head(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def stalling_body(peer: Peer) -> None:
    await peer.request()
    await peer.say(answer(PNG)[:-1])
    await peer.gone()


@pytest.mark.parametrize("script", [stalling_head, stalling_body, Peer.gone])
async def test_a_server_that_takes_too_long_is_left(authority: Authority, script: Script) -> None:
    async with web(authority, script) as (upstream, url):
        failed = await refused(fetcher(authority, limits=Limits(seconds=0.2)), url)
        assert failed.message.endswith(": it took longer than 0.2 seconds.")
        await upstream.all_left(2.0)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(b"<html>", "text/html"), "its type must be an image, audio, video, application/pdf or text/plain"),
        (answer(PNG, ""), "its type must be an image, audio, video, application/pdf or text/plain"),
        (answer(PNG, "image/png,text/html"), "its type must be an image, audio, video, application/pdf or text/plain"),
        (answer(b"<html>"), "it is not a PNG, JPEG, GIF or WebP image"),
        (answer(b"<svg/>", "image/svg+xml"), "it is not a PNG, JPEG, GIF or WebP image"),
        (answer(b"MZ", "application/octet-stream"), "it is not a PNG, JPEG, GIF or WebP image"),
        (answer(b""), "it is not a PNG, JPEG, GIF or WebP image"),
        (answer(PNG, extra="content-encoding: gzip\r\n"), "its server compresses it"),
        (answer(b"gone", status="404 Not Found"), "its server answered with status 404"),
        (answer(PNG, status="206 Partial Content"), "its server answered with status 206"),
        (answer(PNG)[:-1], UNREACHABLE),
        (b"SSH-2.0-OpenSSH\r\n", UNREACHABLE),
        (b"", UNREACHABLE),
    ],
)
async def test_what_no_model_could_read_is_refused(authority: Authority, said: bytes, words: str) -> None:
    async with web(authority, saying(said)) as (upstream, url):
        failed = await refused(fetcher(authority), url)
        assert failed.message.endswith(f": {words}.")
        await upstream.all_left(2.0)


async def test_an_error_names_the_first_part_and_not_the_url(authority: Authority) -> None:
    async with web(authority, saying(answer(b"", status="403 Forbidden"))) as (_, url):
        failed = await refused(fetcher(authority), "data:,", url, url)
    assert failed.envelope()["error"] == {
        "message": "Error while downloading the file that `messages[0].content[2]` links to: "
        "its server answered with status 403.",
        "type": "invalid_request_error",
        "param": "messages[0].content[2]",
        "code": "invalid_image_url",
    }


async def test_one_file_that_fails_ends_the_others(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        if b"bad" in request.line:
            await until(lambda: len(upstream.requests) == 2)
            await peer.say(answer(b"", status="404 Not Found"))
        else:
            await peer.gone()

    async with web(authority, script) as (upstream, url):
        failed = await refused(fetcher(authority), url, f"{url}&bad")
        assert failed.param == "messages[0].content[2]"
        await upstream.all_left(2.0)
