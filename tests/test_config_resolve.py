"""What must hold between the values of a configuration, and what comes of one in which it does."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.config.addresses import is_loopback
from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.snapshot import Model, Snapshot, Timeouts

KEY = "a-long-enough-key-000001"
DIGEST = "0" * 64
ENVIRON = {"EMPTY": "", "SHORT": "hunter2"}


def doc(providers: str = "", models: str = "", rest: str = "") -> str:
    """A good file, with more providers, models and sections."""
    return (
        f"providers:\n  echo: {{type: echo, models: [echo]}}\n{providers}"
        f"models:\n  m: {{targets: [{{provider: echo, model: m}}]}}\n{models}{rest}"
    )


def snapshot(text: str) -> Snapshot:
    return loads(text, name="g", environ=ENVIRON)


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        snapshot(text)
    return [str(complaint) for complaint in refused.value.complaints]


BROKEN: list[tuple[str, str, list[str]]] = [
    (
        "a provider that is not there",
        doc(models="  n: {targets: [{provider: ecko, model: m}]}\n"),
        ["g:5:28: models.n.targets[0].provider: there is no provider `ecko` (did you mean `echo`?)"],
    ),
    (
        "a type that is not there",
        doc("  a: {type: opnai, api_key: x}\n"),
        ["g:3:13: providers.a.type: there is no type `opnai` (did you mean `openai`?)"],
    ),
    (
        "a type of later",
        doc("  a: {type: anthropic, api_key: hidden}\n"),
        ["g:3:13: providers.a.type: the type anthropic is not supported yet"],
    ),
    (
        "a type that is missing",
        doc("  a: {api_key: x}\n"),
        ["g:3:3: providers.a: `type` is missing"],
    ),
    (
        "an address that is missing",
        doc("  a: {type: openai_compatible}\n"),
        ["g:3:3: providers.a.base_url: is needed by the type openai_compatible"],
    ),
    (
        "a version that is missing",
        doc("  a: {type: azure, base_url: https://a.example, api_key: x}\n"),
        ["g:3:3: providers.a.api_version: is needed by the type azure"],
    ),
    (
        "a version that means nothing",
        doc("  a: {type: groq, api_key: x, api_version: '1'}\n"),
        ["g:3:44: providers.a.api_version: means nothing to the type groq"],
    ),
    (
        "a key that is missing",
        doc("  a: {type: openai}\n"),
        ["g:3:3: providers.a.api_key: is needed by the type openai"],
    ),
    (
        "a key whose variable is empty",
        doc('  a: {type: openai, api_key: "${EMPTY}"}\n'),
        [("g:3:30: providers.a.api_key: is needed by the type openai: the environment variable EMPTY is empty")],
    ),
    (
        "a key for a type that has none",
        doc("  a: {type: echo, api_key: hidden}\n"),
        ["g:3:28: providers.a.api_key: means nothing to the type echo"],
    ),
    (
        "a model without targets",
        doc(models="  n: {targets: []}\n"),
        ["g:5:7: models.n.targets: at least one target is needed"],
    ),
    (
        "a model without the field",
        doc(models="  n: {strategy: ordered}\n"),
        ["g:5:3: models.n: `targets` is missing"],
    ),
    (
        "a target without a model",
        doc(models="  n: {targets: [{provider: echo}]}\n"),
        ["g:5:17: models.n.targets[0]: `model` is missing"],
    ),
    (
        "a weight of nothing",
        doc(models="  n: {targets: [{provider: echo, model: m, weight: 0}]}\n"),
        ["g:5:52: models.n.targets[0].weight: `0` must be above 0, and finite"],
    ),
    (
        "a weight without end",
        doc(models="  n: {targets: [{provider: echo, model: m, weight: .inf}]}\n"),
        ["g:5:52: models.n.targets[0].weight: `.inf` is not a number"],
    ),
    (
        "a model that is all disabled",
        doc("  off: {type: echo, enabled: false}\n", "  n: {targets: [{provider: off, model: m}]}\n"),
        ["g:6:7: models.n.targets: every target is on a disabled provider"],
    ),
    (
        "two stars in a name",
        doc(models="  'n*n*': {targets: [{provider: echo, model: m}]}\n"),
        ["g:5:3: models.n*n*: `n*n*` holds more than one *"],
    ),
    (
        "a star that stands for nothing",
        doc(models="  n: {targets: [{provider: echo, model: 'n-*'}]}\n"),
        ["g:5:41: models.n.targets[0].model: holds a *, but the public name `n` does not"],
    ),
    (
        "a model that no URL can name",
        doc(models="  n: {targets: [{provider: echo, model: '..'}]}\n"),
        ["g:5:41: models.n.targets[0].model: `..` cannot be part of a URL"],
    ),
    (
        "a default of the client's own fields",
        doc(models="  n: {targets: [{provider: echo, model: m}], defaults: {stream: true}}\n"),
        ["g:5:65: models.n.defaults.stream: is always the client's own; it cannot have a default"],
    ),
    (
        "a name that two providers publish",
        doc("  b: {type: echo, models: [echo]}\n"),
        [
            (
                "g:3:28: providers.b.models[0]: `echo` is published twice; providers.echo.models[0] (line 2) "
                "publishes it already"
            )
        ],
    ),
    (
        "a name that a model and a provider publish",
        doc("  b: {type: echo, models: [m]}\n"),
        ["g:3:28: providers.b.models[0]: `m` is published twice; models.m (line 5) publishes it already"],
    ),
    (
        "a fallback that is not there",
        doc(models="  n: {targets: [{provider: echo, model: m}], fallbacks: [mm]}\n"),
        ["g:5:58: models.n.fallbacks[0]: there is no model `mm` (did you mean `m`?)"],
    ),
    (
        "a fallback on itself",
        doc(models="  n: {targets: [{provider: echo, model: m}], fallbacks: [n]}\n"),
        ["g:5:46: models.n.fallbacks: goes round in a circle: n -> n"],
    ),
    (
        "fallbacks in a circle",
        doc(
            models="".join(
                f"  {a}: {{targets: [{{provider: echo, model: m}}], fallbacks: [{b}]}}\n" for a, b in ("xy", "yz", "zx")
            )
        ),
        ["g:5:46: models.x.fallbacks: goes round in a circle: x -> y -> z -> x"],
    ),
    (
        "fallbacks in a circle through an alias",
        doc(models="  n: {targets: [{provider: echo, model: m}], fallbacks: [also]}\n", rest="aliases: {also: n}\n"),
        ["g:5:46: models.n.fallbacks: goes round in a circle: n -> n"],
    ),
    (
        "an alias of nothing",
        doc(rest="aliases: {a: nn}\n"),
        ["g:5:14: aliases.a: there is no model `nn`"],
    ),
    (
        "an alias of an alias",
        doc(rest="aliases: {a: m, b: a}\n"),
        ["g:5:20: aliases.b: `a` is an alias too; name the model itself"],
    ),
    (
        "an alias that hides a model",
        doc(rest="aliases: {m: echo}\n"),
        ["g:5:14: aliases.m: is the name of a model already"],
    ),
    (
        "an alias that is a pattern",
        doc(rest="aliases: {'a-*': m}\n"),
        ["g:5:11: aliases.a-*: `a-*` cannot hold a *: only entries of models may be patterns"],
    ),
    (
        "a default model that is not there",
        doc(rest="default_model: ech\n"),
        ["g:5:16: default_model: there is no model `ech` (did you mean `echo`?)"],
    ),
    (
        "a connection that may outlast its call",
        doc(models="  n: {targets: [{provider: echo, model: m}], timeouts: {connect: 9s, total: 3s}}\n"),
        ["g:5:46: models.n.timeouts: connect (9s) is longer than total (3s)"],
    ),
    (
        "a default connection that may outlast its call",
        doc(rest="defaults: {timeouts: {connect: 20m}}\n"),
        ["g:5:12: defaults.timeouts: connect (1200s) is longer than total (600s)"],
    ),
    (
        "two keys of one name",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}1}}\n  - {{name: a, key: {KEY}2}}\n"),
        ["g:7:12: keys[1].name: `a` is the name of keys[0] already"],
    ),
    (
        "one key under two names",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}}}\n  - {{name: b, key: {KEY}}}\n"),
        ["g:7:5: keys[1]: is the same key as that of `a`"],
    ),
    (
        "a key that is written in two ways",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}, sha256: {DIGEST}}}\n"),
        ["g:6:5: keys[0]: has both key and sha256; one is enough"],
    ),
    (
        "a key that is written in no way",
        doc(rest="keys:\n  - {name: a}\n"),
        ["g:6:5: keys[0]: needs key or sha256"],
    ),
    (
        "a client's key whose variable is empty",
        doc(rest='keys:\n  - {name: a, key: "${EMPTY}"}\n'),
        ["g:6:20: keys[0].key: needs key or sha256: the environment variable EMPTY is empty"],
    ),
    (
        "a key that everyone knows",
        doc(rest="keys:\n  - {name: a, key: sk-1234}\n"),
        [("g:6:20: keys[0].key: is a key that everyone knows from examples; make your own: openssl rand -hex 24")],
    ),
    (
        "a key that is too short",
        doc(rest="keys:\n  - {name: a, key: hidden}\n"),
        ["g:6:20: keys[0].key: is shorter than 16 characters; make a better one: openssl rand -hex 24"],
    ),
    (
        "a key for a model that is not there",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}, models: [m, mm, 'x-*']}}\n"),
        [
            "g:6:58: keys[0].models[1]: there is no model `mm` (did you mean `m`?)",
            "g:6:62: keys[0].models[2]: there is no model `x-*`",
        ],
    ),
    (
        "a key without a name",
        doc(rest=f"keys:\n  - {{key: {KEY}}}\n"),
        ["g:6:5: keys[0]: `name` is missing"],
    ),
    (
        "an open address without keys",
        doc(rest="server: {host: 0.0.0.0}\n"),
        ["g:5:16: server.host: `0.0.0.0` can be reached by others, and there are no keys; add keys"],
    ),
    (
        "a host's name without keys",
        doc(rest="server: {host: gateway.example}\n"),
        [("g:5:16: server.host: `gateway.example` can be reached by others, and there are no keys; add keys")],
    ),
    (
        "an open address and no keys in the list",
        doc(rest="server: {host: '::'}\nkeys: []\n"),
        ["g:5:16: server.host: `::` can be reached by others, and there are no keys; add keys"],
    ),
    (
        "a misspelt section tells nothing more",
        doc().replace("providers:", "provders:"),
        ["g:1:1: provders: is not a field here (did you mean `providers`?)"],
    ),
    (
        "a field and a name that are wrong are told together",
        doc(models="  n: {targets: [{provider: eco, model: m}], retry: {}}\n"),
        [
            "g:5:28: models.n.targets[0].provider: there is no provider `eco` (did you mean `echo`?)",
            "g:5:45: models.n.retry: is not a field here (did you mean `retries`?)",
        ],
    ),
]


@pytest.mark.parametrize(("claim", "text", "told"), BROKEN, ids=[claim for claim, _, _ in BROKEN])
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
