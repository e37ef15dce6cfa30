"""Files from the web: which places are never asked for any, whatever a client or a redirect says."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.media import UNREACHABLE, Address, Media, is_public
from tests.house.certificates import Authority, new_authority
from tests.house.scripted import Peer, saying, scripted
from tests.house.web import NAME, PNG, answer, asking, data_url, fetcher, files, redirect, refused, this_machine, web


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1",
        "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_for_everyone_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "168.63.129.17", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "a.localhost"],
)  # fmt: skip
async def test_this_machine_is_not_asked_under_any_spelling(authority: Authority, host: str) -> None:
    async with scripted(saying(answer(PNG)), tls=authority.good) as upstream:
        failed = await refused(
            fetcher(authority, allow=None, resolve=None), f"https://{host}:{upstream.port}/latest/meta-data"
        )
        assert not upstream.peers
    assert failed.status == 400
    assert failed.message.endswith(f": {UNREACHABLE}.")


async def test_inside_and_nowhere_are_told_in_the_same_words(authority: Authority) -> None:
    def nowhere(host: str, port: int) -> Iterable[str]:
        raise OSError("no such name")

    def inside(host: str, port: int) -> Iterable[str]:
        return ["10.0.0.1"]

    async def no_tls(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\n")

    async with scripted(no_tls) as upstream:
        url = f"https://{NAME}:{upstream.port}/"
        told = [
            await refused(fetcher(authority, resolve=nowhere), url),
            await refused(fetcher(authority, resolve=inside, allow=None), url),
            await refused(fetcher(authority), url),
            await refused(fetcher(authority, resolve=lambda host, port: []), url),
            await refused(fetcher(authority), "https://metadata.google.internal/"),
            await refused(fetcher(authority, resolve=None), f"https://{'x' * 70}.example/"),
        ]
    assert len({failed.message for failed in told}) == 1


async def test_names_of_the_network_inside_are_not_even_looked_up(authority: Authority) -> None:
    asked: list[str] = []

    def watching(host: str, port: int) -> Iterable[str]:
        asked.append(host)
        return ["127.0.0.1"]

    media = fetcher(authority, resolve=watching)
    for name in ("metadata", "metadata.google.internal", "db.svc.cluster.local", "printer.home.arpa", "x.Internal."):
        await refused(media, f"https://{name}/")
    assert asked == []


async def test_a_name_with_one_address_inside_is_not_connected_to(authority: Authority) -> None:
    def half(host: str, port: int) -> Iterable[str]:
        return ["127.0.0.1", "10.0.0.1"]

    def allow(address: Address) -> bool:
        return str(address) == "127.0.0.1"

    async with web(authority, saying(answer(PNG))) as (upstream, url):
        await refused(fetcher(authority, resolve=half, allow=allow), url)
        assert not upstream.peers


async def test_a_name_is_looked_up_once_and_connected_to_as_it_was_checked(authority: Authority) -> None:
    meanings = iter(["127.0.0.1", "127.0.0.2"])

    def rebinding(host: str, port: int) -> Iterable[str]:
        return [next(meanings)]

    def allow(address: Address) -> bool:
        return str(address) == "127.0.0.1"

    async with web(authority, saying(answer(PNG))) as (_, url):
        await fetcher(authority, resolve=rebinding, allow=allow).inline(asking(url))
    assert next(meanings) == "127.0.0.2"


async def test_a_server_that_cannot_prove_its_name_is_not_asked(authority: Authority) -> None:
    async with scripted(saying(answer(PNG)), tls=authority.good) as upstream:
        failed = await refused(fetcher(authority), f"https://{NAME}:{upstream.port}/cat.png")
        assert UNREACHABLE in failed.message
        assert not upstream.requests


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://other.example/cat.png", "only https URLs are fetched"),
        ("https:/cat.png", "only https URLs are fetched"),
        ("https://", "only https URLs are fetched"),
        ("https://name:secret@other.example/", "its URL holds a user or a password"),
        ("https://other.example\\@127.0.0.1/", "its URL holds a user or a password"),
        ("https://other.example:99999999/", "its URL cannot be read"),
        ("https://other.example:0/", "its URL cannot be read"),
        ("https://[::1/", "its URL cannot be read"),
        ("https://0177.0.0.1/", "its URL cannot be read"),
        ("https://other.exa\nmple/", "its URL cannot be read"),
        ("https://\uff11\uff12\uff17.0.0.1/", "its URL cannot be read"),
    ],
)
async def test_a_url_that_is_not_plainly_of_the_web_is_refused(authority: Authority, url: str, words: str) -> None:
    failed = await refused(fetcher(authority), url)
    assert failed.message.endswith(f": {words}.")
    assert "secret" not in failed.message


WORDS = st.sampled_from(
    ["other.example", "127.0.0.1", "[::1]", "localhost", "https", "http", "file", "\n", "%00", "🐈"]
)
MARKS = st.sampled_from([":", "/", "//", "@", "?", "#", ".", "\\", "%", " ", "[", "]", "443", "0"])


@given(st.lists(WORDS | MARKS | st.text(max_size=2), max_size=8).map("".join))
async def test_no_url_is_so_odd_that_it_leads_inside_or_breaks_anything(rest: str) -> None:
    def never(address: Address) -> bool:
        return False

    media = Media(allow=never, resolve=this_machine)
    assert (await refused(media, f"https:{rest}")).param == "messages[0].content[1]"


# Redirects.


async def test_redirects_are_followed_without_what_the_server_wants_remembered(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        hop = len(upstream.peers)
        await peer.request()
        await peer.say(redirect(f"/{hop}", "set-cookie: a=b\r\n") if hop <= 3 else answer(PNG))

    async with web(authority, script) as (upstream, url):
        assert files(await fetcher(authority).inline(asking(url))) == [data_url("image/png", PNG)]
        assert [request.line.split()[1] for request in upstream.requests] == [b"/cat.png?size=1", b"/1", b"/2", b"/3"]
        assert not any(b"cookie" in request.headers or b"referer" in request.headers for request in upstream.requests)


@pytest.mark.parametrize("target", ["/again", ""])
async def test_a_redirect_that_does_not_end_is_refused(authority: Authority, target: str) -> None:
    async with web(authority, saying(redirect(target))) as (upstream, url):
        failed = await refused(fetcher(authority), url)
        assert failed.message.endswith(": it is behind more than 3 redirects.")
        assert len(upstream.requests) == 4


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://other.example/", "only https URLs are fetched"),
        ("https://a:b@other.example/", "its URL holds a user or a password"),
        ("https://inside.example:{port}/", UNREACHABLE),
        ("//localhost:{port}/", UNREACHABLE),
        ("https://[x]/", "its URL cannot be read"),
    ],
)
async def test_where_a_redirect_leads_is_checked_anew(authority: Authority, target: str, words: str) -> None:
    def resolve(host: str, port: int) -> Iterable[str]:
        return ["127.0.0.1" if host == NAME else "127.0.0.2"]

    def allow(address: Address) -> bool:
        return str(address) == "127.0.0.1"

    async with scripted(saying(answer(PNG)), tls=authority.good) as inside:
        where = target.format(port=inside.port)
        async with web(authority, saying(redirect(where))) as (upstream, url):
            failed = await refused(fetcher(authority, resolve=resolve, allow=allow), url)
            assert failed.message.endswith(f": {words}.")
            assert len(upstream.requests) == 1
        assert not inside.peers
