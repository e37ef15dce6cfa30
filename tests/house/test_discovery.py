"""Connection tests and lists of models, against servers on real sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from gateway.app.times import clock
from gateway.app.upstreams import account
from gateway.config.resolve import loads
from gateway.core.call import Json
from gateway.upstream.diagnosis import Check
from gateway.upstream.discovery import Account, check, models
from tests.house.certificates import Authority, new_authority
from tests.house.scripted import Peer, Received, Script, Upstream, saying, scripted

KEY = "sk-of-the-test-suite-1"

LIST = {"object": "list", "data": [{"id": "m-2"}, {"id": "m-1"}]}
NO_KEY = {"error": {"message": "No key.", "code": "invalid_api_key"}}
NO_MODEL_NAMED = {"error": {"message": "you must provide a model", "type": "invalid_request_error"}}
NOT_FOUND = {"error": {"message": "not found"}}

Answer = tuple[int, Json] | bytes
Routes = dict[str, Callable[[Received], Answer] | Answer]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


def http(answer: Answer) -> bytes:
    if isinstance(answer, bytes):
        return answer
    body = orjson.dumps(answer[1])
    return b"HTTP/1.1 %d .\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        answer[0],
        len(body),
        body,
    )


def server(routes: Routes, *, key: str | None = KEY, header: bytes = b"authorization") -> Script:
    """The script of an API: what it answers by method and path, to those who show the key."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            shown = request.headers.get(header, b"").decode().removeprefix("Bearer ")
            if key is not None and shown != key:
                await peer.say(http((401, NO_KEY)))
                continue
            method, target, _ = request.line.decode().split(" ")
            answer = routes.get(f"{method} {target}") or routes.get(f"{method} {target.partition('?')[0]}")
            answer = answer(request) if callable(answer) else answer
            await peer.say(http(answer or (404, NOT_FOUND)))

    return script


def provider(upstream: Upstream | str, path: str = "/v1", *, type: str = "openai", key: str | None = KEY) -> Account:
    """The account at a server, as a configuration gives it."""
    origin = upstream if isinstance(upstream, str) else upstream.origin
    own_key = f", api_key: {key}" if key else ""
    text = f"providers:\n  p: {{type: {type}, base_url: '{origin}{path}'{own_key}}}\n"
    return account(loads(text, name="test.yaml", environ={}).providers["p"])


async def checked(routes: Routes, path: str = "/v1", *, type: str = "openai", key: str | None = KEY) -> Check:
    """What the test of an API with these routes says."""
    async with scripted(server(routes)) as upstream:
        return await check(provider(upstream, path, type=type, key=key), clock)


async def test_a_provider_that_is_well_is_reachable_and_takes_the_key_and_lists_its_models() -> None:
    found = await checked({"GET /v1/models": (200, LIST)})
    assert (found.ok, found.reachable, found.credentials, found.models) == (True, True, "valid", ("m-1", "m-2"))
    assert found.latency_ms is not None
    assert 0 < found.latency_ms < 5000


async def test_a_list_that_everyone_may_read_says_nothing_of_the_key() -> None:
    async with scripted(server({"GET /v1/models": (200, LIST)}, key=None)) as upstream:
        found = await check(provider(upstream), clock)
    assert (found.ok, found.credentials, found.models) == (True, "unknown", ("m-1", "m-2"))


async def test_a_local_server_without_a_key_is_asked_once() -> None:
    async with scripted(server({"GET /v1/models": (200, LIST)}, key=None)) as upstream:
        found = await check(provider(upstream, type="ollama", key=None), clock)
        assert len(upstream.requests) == 1
    assert (found.ok, found.credentials) == (True, "unknown")


async def test_a_wrong_key_is_told_without_being_shown() -> None:
    def quote(request: Received) -> Answer:
        return 401, {"error": {"message": f"Incorrect key: {request.headers[b'authorization'].decode()}"}}

    async with scripted(server({"GET /v1/models": quote}, key=None)) as upstream:
        found = await check(provider(upstream), clock)
    assert (found.ok, found.reachable, found.credentials, found.models) == (False, True, "refused", None)
    assert found.error == (
        "the credentials were refused (401: Incorrect key: Bearer ***); check api_key, or what stands in its place"
    )


async def test_a_key_that_may_call_but_not_list_is_valid() -> None:
    refusal = {"error": {"message": "You have insufficient permissions. Missing scopes: api.model.read"}}
    found = await checked({"GET /v1/models": (403, refusal)})
    assert (found.ok, found.credentials, found.models) == (True, "valid", None)
    assert found.note.startswith("may not list its models: You have insufficient permissions.")


@pytest.mark.parametrize("path", ["", "/", "/v1/chat/completions"])
async def test_a_base_url_that_is_nearly_right_is_put_right(path: str) -> None:
    async with scripted(server({"GET /v1/models": (200, LIST)})) as upstream:
        found = await check(provider(upstream, path), clock)
        assert found.error.endswith(f"write base_url: {upstream.origin}/v1")
    assert not found.ok


async def test_a_base_url_without_its_end_is_known_even_when_the_key_is_wrong() -> None:
    def walled(request: Received) -> Answer:
        return 401, NO_KEY

    async with scripted(server({"GET /v1/models": walled}, key=None)) as upstream:
        found = await check(provider(upstream, ""), clock)
        assert found.error.endswith(f"write base_url: {upstream.origin}/v1")


async def test_each_vendor_is_put_right_by_its_own_path() -> None:
    routes: Routes = {"GET /inference/v1/models": (200, LIST)}
    async with scripted(server(routes)) as upstream:
        found = await check(provider(upstream, "", type="fireworks"), clock)
        assert found.error.endswith(f"write base_url: {upstream.origin}/inference/v1")


async def test_a_base_url_with_nothing_behind_it_is_wrong() -> None:
    found = await checked({}, "/v7")
    assert (found.ok, found.reachable, found.credentials) == (False, True, "unknown")
    assert "check the path of base_url" in found.error


async def test_a_server_that_lists_nothing_is_tested_for_nothing() -> None:
    async with scripted(server({"POST /v1/chat/completions": (400, NO_MODEL_NAMED)}, key=None)) as upstream:
        found = await check(provider(upstream), clock)
        assert [request.body for request in upstream.requests if request.line.startswith(b"POST")] == [b"{}", b"{}"]
    assert (found.ok, found.reachable, found.credentials, found.models) == (True, True, "unknown", None)
    assert found.note == "lists no models; name one to test it by a call"


async def test_a_vendor_that_lists_nothing_still_tells_whether_it_takes_the_key() -> None:
    routes: Routes = {"POST /chat/completions": (400, NO_MODEL_NAMED)}
    good = await checked(routes, "", type="perplexity")
    bad = await checked(routes, "", type="perplexity", key="sk-of-somebody-else")
    assert (good.ok, good.credentials, good.note) == (True, "valid", "lists no models; name one to test it by a call")
    assert (bad.ok, bad.credentials) == (False, "refused")


async def test_an_account_that_cannot_pay_is_told() -> None:
    found = await checked({"GET /v1/models": (429, {"error": {"message": "Quota.", "code": "insufficient_quota"}})})
    assert found.error == "the account cannot pay (429: Quota.); see to its credit or its limits"


async def test_a_provider_in_trouble_is_told_from_a_mistake() -> None:
    found = await checked({"GET /v1/models": (500, {"error": {"message": "Oh no."}})})
    assert found.error == "the provider fails (500: Oh no.); try again later"


PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"
MOVED = b"HTTP/1.1 301 .\r\nlocation: https://user:pass@api.example/v1/models?key=k\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (PAGE, "a web page came instead of a list of models; base_url seems to be that of a website"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "what came instead of a list of models is not JSON"),
        ((200, {"hello": "world"}), "the answer is not a list of models; check base_url and type"),
        ((200, {"data": [{"id": 7}]}), "the answer is not a list of models; check base_url and type"),
        (MOVED, "the server sends us to https://api.example (301); base_url must be the address that it really has"),
        (b"HTTP/1.1 302 .\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "the server sends us elsewhere (302)"),
    ],
)
async def test_an_answer_that_is_no_list_is_described(answer: Answer, told: str) -> None:
    found = await checked({"GET /v1/models": answer})
    assert found.reachable
    assert found.error.startswith(told)


async def test_a_port_where_nothing_listens_is_told() -> None:
    async with scripted(server({})) as upstream:
        pass
    found = await check(provider(upstream), clock)
    assert (found.reachable, found.latency_ms) == (False, None)
    assert found.error == (
        f"127.0.0.1:{upstream.port}: Connection refused; nothing listens there: start the server, or correct base_url"
    )


async def test_a_host_that_does_not_exist_is_told() -> None:
    found = await check(provider("http://none.invalid"), clock)  # RFC 6761, 6.4: never resolved
    assert "the name cannot be resolved" in found.error
    assert found.error.endswith("check the host in base_url, and the name server of this machine")


async def test_https_to_a_server_without_it_is_told() -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.say(b"HTTP/1.1 400 .\r\ncontent-length: 0\r\n\r\n")

    async with scripted(plain) as upstream:
        found = await check(provider(upstream.origin.replace("http:", "https:")), clock)
    assert found.error.endswith("if the server speaks plain http, base_url must begin with http://")


async def test_a_certificate_that_nobody_vouches_for_is_told(authority: Authority) -> None:
    async with scripted(server({"GET /v1/models": (200, LIST)}), tls=authority.good) as upstream:
        found = await check(provider(upstream), clock)
    assert "certificate verify failed" in found.error
    assert found.error.endswith("name its file in ca_file")


async def test_a_server_that_hangs_up_is_told() -> None:
    async with scripted(saying()) as upstream:
        found = await check(provider(upstream), clock)
    assert not found.reachable
    assert found.error.endswith("check host, port, and http or https in base_url")


async def test_a_provider_that_never_answers_is_given_up() -> None:
    async def silent(peer: Peer) -> None:
        await peer.gone()

    async with scripted(silent) as upstream:
        found = await check(provider(upstream), clock, limit=0.1)
    assert not found.reachable
    assert found.error.endswith("check base_url, and the firewalls and proxies on the way")


def with_setting(upstream: Upstream, setting: str) -> Account:
    text = f"providers:\n  p: {{type: openai, base_url: '{upstream.origin}/v1', api_key: {KEY}, {setting}}}\n"
    return account(loads(text, name="test.yaml", environ={}).providers["p"])


async def test_the_test_goes_the_way_of_calls(authority: Authority) -> None:
    """With the provider's own authorities, headers and organization."""
    async with scripted(server({"GET /v1/models": (200, LIST)}), tls=authority.good) as upstream:
        found = await check(with_setting(upstream, f"ca_file: {authority.file}, headers: {{x-team: blue}}"), clock)
        assert [request.headers[b"x-team"] for request in upstream.requests] == [b"blue", b"blue"]
    assert found.credentials == "valid"


async def test_a_ca_file_that_cannot_be_read_is_told(authority: Authority, tmp_path: Path) -> None:
    async with scripted(server({}), tls=authority.good) as upstream:
        found = await check(with_setting(upstream, f"ca_file: {tmp_path}/none.pem"), clock)
    assert "ca_file cannot be used" in found.error


async def test_a_proxy_that_refuses_is_told(authority: Authority) -> None:
    refusing = saying(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
    async with scripted(refusing) as proxy, scripted(server({}), tls=authority.good) as upstream:
        setting = f"ca_file: {authority.file}, proxy: 'http://us:pass-word-1@127.0.0.1:{proxy.port}'"
        found = await check(with_setting(upstream, setting), clock)
    assert found.error == "the proxy refused the tunnel: 407 Proxy Authentication Required; check proxy"


# Lists in parts.


async def listed_by(routes: Routes, path: str, *, type: str, header: bytes) -> tuple[Check, list[str]]:
    """What the test of such an API says, and the targets that were asked for with the key."""
    async with scripted(server(routes, header=header)) as upstream:
        found = await check(provider(upstream, path, type=type), clock)
        shown = [request for request in upstream.requests if KEY.encode() in request.headers.get(header, b"")]
    return found, [request.line.decode().split(" ")[1] for request in shown]


async def test_anthropics_list_is_read_to_its_end() -> None:
    routes: Routes = {
        "GET /v1/models?limit=1000": (200, {"data": [{"id": "c-1"}], "has_more": True, "last_id": "c-1"}),
        "GET /v1/models?limit=1000&after_id=c-1": (200, {"data": [{"id": "c-2"}], "has_more": False}),
    }
    found, asked = await listed_by(routes, "/v1", type="anthropic", header=b"x-api-key")
    assert (found.credentials, found.models, len(asked)) == ("valid", ("c-1", "c-2"), 2)


async def test_geminis_list_is_read_to_its_end() -> None:
    routes: Routes = {
        "GET /v1beta/models?pageSize=1000": (200, {"models": [{"name": "models/g-1"}], "nextPageToken": "t/1"}),
        "GET /v1beta/models?pageSize=1000&pageToken=t%2F1": (200, {"models": [{"name": "models/g-2"}]}),
    }
    found, asked = await listed_by(routes, "/v1beta", type="gemini", header=b"x-goog-api-key")
    assert (found.credentials, found.models, len(asked)) == ("valid", ("g-1", "g-2"), 2)


async def test_geminis_base_url_is_put_right_too() -> None:
    routes: Routes = {"GET /v1beta/models": (200, {"models": [{"name": "models/g-1"}]})}
    found, _ = await listed_by(routes, "", type="gemini", header=b"x-goog-api-key")
    assert found.error.endswith("/v1beta")


async def test_coheres_list_is_that_of_its_first_version() -> None:
    routes: Routes = {"GET /v1/models?page_size=1000": (200, {"models": [{"name": "command", "endpoints": ["chat"]}]})}
    found, asked = await listed_by(routes, "/v2", type="cohere", header=b"authorization")
    assert (found.credentials, found.models, len(asked)) == ("valid", ("command",), 1)


BEDROCK = {
    "GET /foundation-models": (200, {"modelSummaries": [{"modelId": "amazon.nova-lite-v1:0"}]}),
    "GET /inference-profiles": (200, {"inferenceProfileSummaries": [{"inferenceProfileId": "us.amazon.nova"}]}),
}


def bedrock(upstream: Upstream, keys: str) -> Account:
    text = f"providers:\n  p: {{type: bedrock, region: us-east-1, endpoint_url: '{upstream.origin}', {keys}}}\n"
    return account(loads(text, name="test.yaml", environ={}).providers["p"])


async def test_bedrocks_two_lists_are_asked_for_with_a_signature() -> None:
    def signed(name: str) -> Callable[[Received], Answer]:
        def answer(request: Received) -> Answer:
            shown = request.headers.get(b"authorization", b"")
            return BEDROCK[name] if shown.startswith(b"AWS4-HMAC-SHA256 Credential=AKIA") else (403, NO_KEY)

        return answer

    async with scripted(server({name: signed(name) for name in BEDROCK}, key=None)) as upstream:
        found = await check(bedrock(upstream, "access_key_id: AKIA12345678, secret_access_key: s-e-c-r-e-t"), clock)
    assert (found.ok, found.credentials) == (True, "valid")
    assert found.models == ("amazon.nova-lite-v1:0", "us.amazon.nova")


async def test_one_of_bedrocks_lists_is_of_use_without_the_other() -> None:
    first, second = BEDROCK
    async with scripted(server({first: BEDROCK[first], second: (403, NO_KEY)}, key=None)) as upstream:
        found = await check(bedrock(upstream, f"api_key: {KEY}"), clock)
    assert (found.ok, found.models) == (True, ("amazon.nova-lite-v1:0",))


async def test_an_endpoint_of_bedrock_for_calls_alone_is_no_fault() -> None:
    async with scripted(server({})) as upstream:
        found = await check(bedrock(upstream, f"api_key: {KEY}"), clock)
        assert not [request for request in upstream.requests if request.line.startswith(b"POST")]
    assert (found.ok, found.reachable, found.credentials) == (True, True, "unknown")
    assert found.note == "lists no models; name one to test it by a call"


async def test_a_policy_of_aws_that_allows_calls_alone_is_no_fault() -> None:
    denied = {"message": "User: arn:aws:iam::1:user/u is not authorized to perform: bedrock:ListFoundationModels"}
    async with scripted(server({"GET /foundation-models": (403, denied)})) as upstream:
        found = await check(bedrock(upstream, f"api_key: {KEY}"), clock)
    assert (found.ok, found.credentials, found.models) == (True, "valid", None)
    assert "bedrock:ListFoundationModels" in found.note


# By a call.


def answered(request: Received) -> Answer:
    asked = orjson.loads(request.body)
    if "max_tokens" in asked:
        return 400, {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}}
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    return 200, {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}


async def test_a_named_model_is_called_for_one_token() -> None:
    async with scripted(server({"POST /v1/chat/completions": answered})) as upstream:
        found = await check(provider(upstream), clock, model="m-1")
        old, new = (orjson.loads(request.body) for request in upstream.requests)
    assert (found.ok, found.credentials, found.note) == (True, "valid", "m-1 answered")
    assert (old["model"], old["max_tokens"], new["max_completion_tokens"]) == ("m-1", 1, 1)


async def test_a_model_that_is_not_there_is_told() -> None:
    refusal = {"error": {"message": "The model `m-9` does not exist", "code": "model_not_found"}}
    async with scripted(server({"POST /v1/chat/completions": (404, refusal)})) as upstream:
        found = await check(provider(upstream), clock, model="m-9")
    assert found.error.startswith("there is no such model (404: The model `m-9` does not exist)")


async def test_what_cannot_be_a_model_is_not_asked_for() -> None:
    found = await check(provider("http://127.0.0.1:9"), clock, model="..")
    assert found.error == ".. cannot be the name of a model"


async def test_the_built_in_provider_is_always_well() -> None:
    echo = account(loads("providers: {e: {type: echo}}\n", name="t", environ={}).providers["e"])
    assert (await check(echo, clock)).models == ("echo",)
    assert await models(echo, clock) == ("echo",)
    assert (await check(echo, clock, model="echo")).note == "echo answered"
