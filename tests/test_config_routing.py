"""What a configuration says of routing and failing over, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.config import values
from gateway.config.addresses import redis_url
from gateway.config.discovered import with_discovered
from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.snapshot import Breaker, Model, Snapshot, State
from gateway.core.call import Price, Target
from gateway.vendors.catalogue import Known, about
from tests.mistakes import KEY, doc
from tests.routing_mistakes import entry

TWO = "{provider: echo, model: a}, {provider: echo, model: b}"


def snapshot(text: str, environ: Mapping[str, str] | None = None) -> Snapshot:
    return loads(text, name="g", environ=environ or {})


def model(fields: str = "", targets: str = TWO, rest: str = "") -> Model:
    return snapshot(doc(models=entry("n", fields, targets), rest=rest)).models["n"]


def target(fields: str) -> Target:
    return model(targets=f"{{provider: echo, model: a, {fields}}}").targets[0]


@pytest.mark.parametrize("strategy", ["weighted", "ordered", "least_busy", "fastest"])
def test_a_model_has_the_strategy_that_it_names(strategy: str) -> None:
    assert model(f"strategy: {strategy}").strategy == strategy


def test_the_cheapest_of_several_targets_goes_by_the_prices_that_are_written() -> None:
    prices = {"a": "{input: 0.15, output: .6}", "b": "{input: 0, output: 0}"}
    targets = ", ".join(f"{{provider: echo, model: {name}, price: {price}}}" for name, price in prices.items())
    found = model("strategy: cheapest", targets)
    assert found.strategy == "cheapest"
    assert [to.price for to in found.targets] == [Price(0.15, 0.6), Price(0.0, 0.0)]


def test_a_pattern_may_go_to_the_cheapest_whose_prices_are_known_by_name() -> None:
    text = doc(models=entry("'p-*'", "strategy: cheapest", "{provider: echo, model: '*'}"))
    assert snapshot(text).patterns[0][2].strategy == "cheapest"


def test_a_disabled_provider_needs_no_price() -> None:
    targets = "{provider: echo, model: a, price: {input: 1, output: 1}}, {provider: off, model: b}"
    text = doc("  off: {type: echo, enabled: no}\n", entry("n", "strategy: cheapest", targets))
    assert len(snapshot(text).models["n"].targets) == 1


def test_a_target_carries_what_is_written_of_it() -> None:
    found = target(
        "context: 128k, lacks: [images, schema], limits: {concurrent_requests: 50}, price: {input: 1, output: 2}"
    )
    assert (found.context, found.price, found.concurrent) == (128_000, Price(1.0, 2.0), 50)
    assert sorted(found.lacks) == ["images", "schema"]


def test_of_a_target_of_which_nothing_is_written_or_known_nothing_is_assumed() -> None:
    found = target("weight: 1")
    assert (found.context, found.lacks, found.price, found.concurrent) == (None, frozenset(), None, None)


def test_a_model_names_its_fallbacks_by_what_they_are_for() -> None:
    found = model("fallbacks: [m], context_fallbacks: [echo, m], content_fallbacks: []")
    assert (found.fallbacks, found.context_fallbacks, found.content_fallbacks) == (("m",), ("echo", "m"), ())


def test_one_model_may_stand_in_for_several_and_in_several_lists() -> None:
    models = entry("x", "fallbacks: [y, m], content_fallbacks: [m]") + entry(
        "y", "fallbacks: [m], context_fallbacks: [m]"
    )
    assert snapshot(doc(models=models)).models["x"].fallbacks == ("y", "m")


def test_a_long_chain_of_fallbacks_is_no_circle() -> None:
    links = "".join(entry(f"n{at}", f"fallbacks: [n{at + 1}]") for at in range(2_000))
    assert len(snapshot(doc(models=links + entry("n2000"))).models) == 2_003


def test_a_breaker_is_merged_field_by_field() -> None:
    found = model("breaker: {failures: 3, ejection: 5s}", rest="defaults: {breaker: {failures: 9, window: 1m}}\n")
    assert found.breaker == Breaker(failures=3, window=60.0, ejection=5.0, max_ejection=300.0)


def test_the_defaults_hold_for_models_without_an_entry() -> None:
    rest = "defaults: {breaker: {failures: 9}, retries: {budget: 0.5}, on_hangup: drain}\n"
    found = snapshot(doc(rest=rest)).models["echo"]
    assert (found.breaker.failures, found.retry_share, found.on_hangup) == (9, 0.5, "drain")


def test_a_short_longest_ejection_needs_no_word_about_the_first() -> None:
    assert model("breaker: {max_ejection: 10s}").breaker == Breaker(ejection=10.0, max_ejection=10.0)


def test_every_ejection_may_be_of_the_same_length() -> None:
    assert model("breaker: {ejection: 1m, max_ejection: 60s}").breaker.ejection == 60.0


@pytest.mark.parametrize(
    ("defaults", "own", "share"),
    [
        ("{}", "{}", 0.2),
        ("{budget: 10%}", "{}", 0.1),
        ("{budget: 10%}", "{budget: 0%}", 0.0),
        ("{}", "{budget: .5}", 0.5),
    ],
)
def test_the_budget_of_retries_is_a_fifth_unless_another_is_written(defaults: str, own: str, share: float) -> None:
    assert model(f"retries: {own}", rest=f"defaults: {{retries: {defaults}}}\n").retry_share == share


def test_a_models_own_word_on_hang_ups_wins() -> None:
    assert model().on_hangup == "cancel"
    assert model("on_hangup: drain").on_hangup == "drain"
    assert model("on_hangup: cancel", rest="defaults: {on_hangup: drain}\n").on_hangup == "cancel"


def test_a_conversation_stays_with_a_target_where_that_is_wanted() -> None:
    assert model("sticky: yes").sticky
    assert not model().sticky


def test_a_stream_is_asked_for_twice_only_where_that_is_wanted() -> None:
    assert (model("hedge: 5%").hedge, model().hedge) == (0.05, 0.0)


def test_a_hedge_waits_for_its_second_target_to_be_enabled() -> None:
    targets = "{provider: echo, model: a}, {provider: off, model: b}"
    text = doc("  off: {type: echo, enabled: no}\n", entry("n", "hedge: 5%", targets))
    assert snapshot(text).models["n"].hedge == 0.05


@pytest.mark.parametrize(
    ("written", "priority"), [("", "normal"), (", priority: low", "low"), (", priority: high", "high")]
)
def test_a_key_has_the_priority_that_it_names(written: str, priority: str) -> None:
    found = snapshot(doc(rest=f"keys:\n  - {{name: a, key: {KEY}{written}}}\n"))
    assert [key.priority for key in found.keys.values()] == [priority]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://127.0.0.1:6379/0",
        "redis://[::1]:6379/",
        "redis://:p@ss%2Fword@cache.example:6379/15",
        "rediss://user:pass@cache.example:6380?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required",
        "unix:///run/redis.sock",
        "unix://user:pass@/run/redis.sock?db=1",
    ],
)
def test_replicas_share_their_state_through_redis(url: str) -> None:
    found = snapshot(doc(rest="state: {redis: '${REDIS_URL}'}\n"), {"REDIS_URL": url}).state.redis
    assert found is not None
    assert found.reveal() == url
    assert "pass" not in repr(found)


@pytest.mark.parametrize("rest", ["", "state: {}\n", "state: {redis: '${REDIS_URL:-}'}\n", "state: {redis: ''}\n"])
def test_without_an_address_everything_is_kept_in_process(rest: str) -> None:
    assert snapshot(doc(rest=rest)).state == State(None)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://h:0",
        "redis://h/name",
        "redis://h#0",
        "redis://[::1",
        "redis://h h",
        "unix://run/redis.sock",
        "unix:///",
        "redis+ssl://h",
        "redis://h?db=x",
        "redis://h?timeout=1",
        "rediss://h?ssl_cert_reqs=maybe",
        "unix:///s?ssl_ca_certs=/a",
    ],
)
def test_what_no_client_could_connect_to_is_no_address_of_redis(url: str) -> None:
    with pytest.raises(ValueError):
        redis_url(url)


def test_the_password_of_an_address_stays_out_of_every_complaint() -> None:
    environ = {"REDIS_URL": "redis://:hunter2#hunter2@host"}
    with pytest.raises(ConfigError) as refused:
        snapshot(doc(rest="state:\n  redis: ${REDIS_URL}\n"), environ)
    assert "hunter2" not in str(refused.value)
    assert str(refused.value).startswith("g:6:10: state.redis: the value is not an address of Redis")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("20%", 0.2), ("0.2", 0.2), (".2", 0.2), ("2.5 %", 0.025), ("0", 0.0), ("0%", 0.0), ("0.0", 0.0), ("100%", 1.0)],
)
def test_a_share_is_a_percentage_or_a_fraction(written: str, meant: float) -> None:
    assert values.share(100)(written) == pytest.approx(meant)


@pytest.mark.parametrize("written", ["", "%", "1", "1.0", "20", "-5%", "101%", "1e-1", "0,2", "nan", "٢%", "9" * 5000])
def test_what_is_no_share_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        values.share(100)(written)


@pytest.mark.parametrize("written", ["0", "0.15", ".6", "75", "1e2", "100000"])
def test_a_price_is_in_dollars(written: str) -> None:
    assert values.dollars(written) == float(written)


@pytest.mark.parametrize("written", ["-0.01", "100001", "1e999", "inf", "nan", "$1", "0,15", ""])
def test_what_is_no_price_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        values.dollars(written)


OPENAI = "  o: {type: openai, api_key: k, models: [gpt-4o-mini]}\n"


def at_openai(fields: str = "", name: str = "gpt-4o-mini") -> Target:
    """A target at a vendor whose models are in the packaged catalogue."""
    targets = f"{{provider: o, model: {name}{fields}}}"
    return snapshot(doc(OPENAI, entry("n", targets=targets))).models["n"].targets[0]


def facts(found: Target | Known | None) -> tuple[object, ...]:
    assert found is not None
    return found.context, found.lacks, found.price


def test_what_is_known_of_a_model_need_not_be_written() -> None:
    assert facts(at_openai()) == facts(about("openai", "gpt-4o-mini"))
    assert at_openai().price is not None


def test_what_is_known_holds_for_models_without_an_entry() -> None:
    assert facts(snapshot(doc(OPENAI)).models["gpt-4o-mini"].targets[0]) == facts(about("openai", "gpt-4o-mini"))


def test_what_is_written_of_a_target_wins_over_what_is_known() -> None:
    written = at_openai(", context: 1k, lacks: [tools], price: {input: 0, output: 0}")
    assert facts(written) == (1_000, {"tools"}, Price(0.0, 0.0))


def test_a_model_that_is_written_to_lack_nothing_lacks_nothing() -> None:
    assert "images" in at_openai(name="gpt-audio").lacks
    assert at_openai(", lacks: []", "gpt-audio").lacks == frozenset()


def test_what_is_known_of_a_model_is_known_behind_a_pattern_too() -> None:
    found = snapshot(doc(OPENAI, entry("'o/*'", targets="{provider: o, model: '*', context: 2k}"))).model(
        "o/gpt-4o-mini"
    )
    assert found is not None
    target = found.targets[0]
    assert (target.model, target.context, target.price) == ("gpt-4o-mini", 2_000, at_openai().price)


def test_a_target_without_a_star_stays_as_written_behind_a_pattern() -> None:
    written = "{provider: o, model: gpt-audio, lacks: []}"
    found = snapshot(doc(OPENAI, entry("'o/*'", targets=written))).model("o/anything")
    assert found is not None
    assert (found.targets[0].model, found.targets[0].lacks) == ("gpt-audio", frozenset())


def test_what_a_provider_lists_is_known_like_what_is_written() -> None:
    text = "providers:\n  o: {type: openai, api_key: k, models: discover}\n"
    found = with_discovered(snapshot(text), {"o": ["gpt-4o-mini"]}).models["gpt-4o-mini"]
    assert facts(found.targets[0]) == facts(about("openai", "gpt-4o-mini"))


def test_the_cheapest_needs_no_prices_that_are_known() -> None:
    targets = "{provider: o, model: gpt-4o-mini}, {provider: o, model: gpt-4o}"
    assert snapshot(doc(OPENAI, entry("n", "strategy: cheapest", targets))).models["n"].strategy == "cheapest"
