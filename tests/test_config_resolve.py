"""What must hold between the values of a configuration, and what comes of one in which it does."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.config.addresses import is_loopback
from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.snapshot import Model, Provider, Snapshot, Timeouts
from gateway.core.secret import Secret
from gateway.wire.sigv4 import AwsKeys
from tests.mistakes import BROKEN, KEY, doc
from tests.routing_mistakes import MISROUTED

ENVIRON = {"EMPTY": "", "SHORT": "hunter2"}


def snapshot(text: str) -> Snapshot:
    return loads(text, name="g", environ=ENVIRON)


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        snapshot(text)
    return [str(complaint) for complaint in refused.value.complaints]


MISTAKES = [*BROKEN, *MISROUTED]


@pytest.mark.parametrize(("claim", "text", "told"), MISTAKES, ids=[claim for claim, _, _ in MISTAKES])
def test_a_mistake_between_values_is_told_with_its_place_and_its_cure(claim: str, text: str, told: list[str]) -> None:
    assert complaints(text) == told
    assert "hidden" not in "".join(told)


def test_an_item_that_cannot_be_read_does_not_shift_the_others() -> None:
    text = doc(models="  n: {targets: [{provider: echo, model: m}], fallbacks: ['a*', nn]}\n")
    assert [told.split(": ")[1] for told in complaints(text)] == ["models.n.fallbacks[0]", "models.n.fallbacks[1]"]


def route(found: Model | None) -> list[tuple[str, str, float]]:
    assert found is not None
    return [(target.provider, target.model, w) for target, w in zip(found.targets, found.weights, strict=True)]


def test_a_good_file_is_quiet() -> None:
    assert set(snapshot(doc()).models) == {"echo", "m"}


def test_a_model_leads_to_its_targets_with_all_that_a_call_needs() -> None:
    text = doc(
        '  a: {type: azure, base_url: "https://a.example/", api_key: k, api_version: "1", send_user_id: yes,\n'
        "      organization: o, project: p, headers: {X-Team: t}}\n",
        "  n: {targets: [{provider: a, model: d/1, weight: 3}, {provider: echo, model: m}], defaults: {top_p: 1}}\n",
    )
    found = snapshot(text).models["n"]
    assert route(found) == [("a", "d/1", 3.0), ("echo", "m", 1.0)]
    target = found.targets[0]
    assert target.urls["chat"] == "https://a.example/openai/deployments/d%2F1/chat/completions?api-version=1"
    assert target.headers == ((b"openai-organization", b"o"), (b"openai-project", b"p"), (b"x-team", b"t"))
    assert (target.defaults, target.send_user_id, target.done_marker) == ({"top_p": 1}, True, True)


def test_a_target_carries_the_quirks_of_its_vendor() -> None:
    found = snapshot(doc("  d: {type: deepseek, api_key: k}\n", "  n: {targets: [{provider: d, model: x}]}\n"))
    assert [quirk.__name__ for quirk in found.models["n"].targets[0].quirks] == ["max_tokens_only", "system_role_only"]


def test_azures_newer_api_wants_no_version() -> None:
    text = doc("  a: {type: azure, base_url: https://a.example/openai/v1, api_key: k, models: [d]}\n")
    assert snapshot(text).models["d"].targets[0].urls["chat"] == "https://a.example/openai/v1/chat/completions"


def test_a_local_server_needs_no_key() -> None:
    provider = snapshot(doc("  o: {type: ollama}\n")).providers["o"]
    assert (provider.api_key, provider.base_url) == (None, "http://127.0.0.1:11434/v1")


def test_a_vendor_that_wants_bytes_is_not_sent_addresses() -> None:
    text = doc("  g: {type: gemini, api_key: k, models: [gem]}\n  c: {type: anthropic, api_key: k, models: [cla]}\n")
    assert [snapshot(text).models[name].targets[0].fetch_media for name in ("gem", "cla")] == [True, False]


def bedrock(fields: str) -> Provider:
    return snapshot(doc(f"  b: {{type: bedrock, region: eu-central-1, {fields}}}\n")).providers["b"]


PAIR = "access_key_id: AKIAEXAMPLE, secret_access_key: hidden"


@pytest.mark.parametrize(
    ("fields", "keys", "api_key"),
    [
        (PAIR, AwsKeys("AKIAEXAMPLE", Secret("hidden")), None),
        (f"{PAIR}, session_token: t", AwsKeys("AKIAEXAMPLE", Secret("hidden"), Secret("t")), None),
        (f"{PAIR}, api_key: ABSKkey", AwsKeys("AKIAEXAMPLE", Secret("hidden")), None),
        ("api_key: bedrock-api-key-YWJj==", None, Secret("bedrock-api-key-YWJj==")),
        ("api_key: 'AKIAEXAMPLE00001:hid/d+en:'", AwsKeys("AKIAEXAMPLE00001", Secret("hid/d+en:")), None),
        (
            "api_key: 'ASIAEXAMPLE00001:hidden', session_token: t",
            AwsKeys("ASIAEXAMPLE00001", Secret("hidden"), Secret("t")),
            None,
        ),
        ("profile: team", None, None),
        ("api_key: '${EMPTY}', access_key_id: '${EMPTY}', secret_access_key: '${EMPTY}'", None, None),
    ],
)
def test_access_keys_count_before_an_api_key_and_that_before_the_default_chain(
    fields: str, keys: AwsKeys | None, api_key: Secret | None
) -> None:
    found = bedrock(fields)
    assert (found.aws_keys, found.api_key) == (keys, api_key)
    assert "hidden" not in repr(found)


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-5", "us-gov-west-1", "mx-central-1"])
def test_a_region_leads_to_its_own_host(region: str) -> None:
    found = snapshot(doc(f"  b: {{type: bedrock, region: {region}}}\n")).providers["b"]
    assert found.base_url == f"https://bedrock-runtime.{region}.amazonaws.com"


def test_an_endpoint_url_replaces_the_regions_host() -> None:
    text = doc("  b: {type: bedrock, region: cn-north-1, endpoint_url: 'https://a.example/aws/', models: ['x:y/z']}\n")
    found = snapshot(text)
    assert found.models["x:y/z"].targets[0].urls["chat"] == "https://a.example/aws/model/x%3Ay%2Fz/converse"
    assert found.providers["b"].region == "cn-north-1"


def test_the_star_of_a_name_reaches_bedrocks_path() -> None:
    models = "  'aws/*': {targets: [{provider: b, model: '*'}]}\n"
    found = snapshot(doc("  b: {type: bedrock, region: eu-west-1}\n", models)).model("aws/amazon.nova-lite-v1:0")
    assert found is not None
    assert found.targets[0].urls["chat_stream"] == (
        "https://bedrock-runtime.eu-west-1.amazonaws.com/model/amazon.nova-lite-v1%3A0/converse-stream"
    )


def test_half_a_pair_of_keys_is_no_matter_on_a_disabled_provider() -> None:
    assert bedrock("access_key_id: '${SHORT}', secret_access_key: '${EMPTY}', enabled: no").aws_keys is None


def test_what_is_unsupported_is_dropped_unless_an_error_is_wanted() -> None:
    own = "  n: {targets: [{provider: echo, model: m}], unsupported: drop}\n"
    found = snapshot(doc(models=own, rest="defaults: {unsupported: error}\n")).models
    assert {name: model.unsupported for name, model in found.items()} == {"echo": "error", "m": "error", "n": "drop"}
    assert snapshot(doc()).models["m"].unsupported == "drop"


def test_a_disabled_provider_is_kept_and_never_used() -> None:
    text = doc(
        '  off: {type: openai, api_key: "${EMPTY}", enabled: no, models: [gpt]}\n',
        "  n: {targets: [{provider: off, model: x}, {provider: echo, model: y, weight: 2}]}\n",
    )
    found = snapshot(text)
    assert not found.providers["off"].enabled
    assert "gpt" not in found.models
    assert route(found.models["n"]) == [("echo", "y", 2.0)]


def test_the_star_of_a_name_fills_the_star_of_its_target() -> None:
    text = doc(models="".join(f"  '{name}': {{targets: [{{provider: echo, model: '{to}'}}]}}\n" for name, to in STARS))
    found = snapshot(text)
    assert route(found.model("gpt-4o-mini")) == [("echo", "x-mini", 1.0)]
    assert route(found.model("gpt-5")) == [("echo", "gpt-5", 1.0)]
    assert route(found.model("gpt-4o-2024")) == [("echo", "exactly", 1.0)]
    assert found.model("claude") is None


STARS = [("gpt-*", "gpt-*"), ("gpt-4o-*", "x-*"), ("gpt-4o-2024", "exactly")]


def test_an_alias_leads_where_its_model_does() -> None:
    found = snapshot(
        doc(models="  'n-*': {targets: [{provider: echo, model: 'y-*'}]}\n", rest="aliases: {a: m, b: n-1}\n")
    )
    assert found.model("a") == found.model("m")
    assert route(found.model("b")) == [("echo", "y-1", 1.0)]


def test_a_models_own_values_win_over_the_defaults() -> None:
    defaults = "defaults: {timeouts: {idle: 9s, total: 90s}, retries: {attempts: 5}}\n"
    own = "  n: {targets: [{provider: echo, model: m}], timeouts: {idle: 300ms}, retries: {attempts: 1}}\n"
    found = snapshot(doc(models=own, rest=defaults)).models
    assert found["n"].timeouts == Timeouts(connect=5.0, first_token=60.0, idle=0.3, total=90.0)
    assert (found["n"].attempts, found["m"].attempts, found["echo"].attempts) == (1, 5, 5)
    assert found["echo"].timeouts == Timeouts(idle=9.0, total=90.0)


def test_a_short_total_needs_no_word_about_connecting() -> None:
    found = snapshot(doc(rest="defaults: {timeouts: {total: 2s}}\n"))
    assert found.models["m"].timeouts.connect == 2.0


def test_a_key_is_known_by_its_hash_however_it_was_written() -> None:
    digest = sha256(KEY.encode())
    for written in (f"key: {KEY}", f"sha256: {digest.hexdigest().upper()}"):
        found = snapshot(doc(rest=f"keys:\n  - {{name: a, {written}, models: [m, 'e*'], expires: 2027-01-01}}\n"))
        key = found.keys[digest.digest()]
        assert (key.name, key.models, key.expires) == ("a", ("m", "e*"), 1_798_761_600.0)
        assert KEY not in repr(found)


def test_a_short_key_is_the_business_of_whoever_set_the_variable() -> None:
    found = snapshot(doc(rest="keys:\n  - {name: a, key: '${SHORT}'}\n"))
    assert sha256(b"hunter2").digest() in found.keys


def test_a_key_that_everyone_knows_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(ConfigError, match="is a key that everyone knows from examples"):
        loads(doc(rest="keys:\n  - {name: a, key: '${KEY}'}\n"), name="g", environ={"KEY": "sk-1234"})


def test_a_key_may_name_what_only_a_pattern_publishes() -> None:
    models = "  'gpt-*': {targets: [{provider: echo, model: 'gpt-*'}]}\n"
    keys = (
        f"keys:\n  - {{name: a, key: {KEY}, models: [gpt-4o, 'gpt-4*', '*', 'g*-mini', also]}}\naliases: {{also: m}}\n"
    )
    assert len(snapshot(doc(models=models, rest=keys)).keys) == 1


def test_with_keys_any_address_may_be_listened_on() -> None:
    text = doc(rest=f"server: {{host: 0.0.0.0, port: 0}}\nkeys:\n  - {{name: a, key: {KEY}}}\n")
    assert (snapshot(text).server.host, snapshot(text).server.port) == ("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("a", False),
    ],
)
def test_only_this_machines_own_addresses_are_its_own(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_the_digest_tells_texts_apart_and_holds_nothing_of_the_environment() -> None:
    text = doc('  a: {type: openai, api_key: "${K}"}\n')
    one, other = (loads(text, name="g", environ={"K": key}).digest for key in ("x", "y"))
    assert one == other == sha256(text.encode()).hexdigest()


def test_no_secret_is_printed_with_a_snapshot() -> None:
    providers = "  a: {type: openai, api_key: hidden, proxy: 'http://u:hidden@h:1'}\n"
    found = snapshot(doc(providers, rest="server: {metrics_key: hidden}\n"))
    assert "hidden" not in repr(found)
