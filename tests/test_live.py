"""Reading the metrics of a running gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.live import Live, address, read, samples
from gateway.config.snapshot import Server
from gateway.routing.health import Standing
from gateway.sinks.metrics import Metrics

URL = "http://127.0.0.1:4000"
DIGEST = "d1"


def exposition(states: dict[tuple[str, str, str], int], digest: str = DIGEST) -> str:
    """What a gateway tells Prometheus when its targets are like this."""
    metrics = Metrics()
    metrics.running(digest)
    metrics.targets(states.items())
    return metrics.exposition().decode()


def live(*states: tuple[str, str, str, int]) -> Live:
    return read(
        exposition({(model, provider, target): state for model, provider, target, state in states}), URL, DIGEST
    )


def test_each_target_is_as_the_metrics_have_it() -> None:
    found = live(("m", "p", "a", 0), ("m", "p", "b", 1), ("m", "q", "a", 2))
    assert [found.of(("m", *place)) for place in (("p", "a"), ("p", "b"), ("q", "a"))] == [
        "ready",
        "cooling down",
        "ejected",
    ]
    assert found.unknown == ""


def test_a_target_that_the_gateway_does_not_have_has_no_state() -> None:
    assert live(("m", "p", "a", 0)).of(("m", "p", "b")) is None


def test_a_provider_is_as_its_worst_target() -> None:
    found = live(("m", "p", "a", 0), ("n", "p", "b", 2), ("m", "p", "c", 1), ("m", "q", "a", 0))
    assert (found.worst("p"), found.worst("q"), found.worst("r")) == ("ejected", "ready", None)


def test_another_configurations_states_are_not_taken_for_this_ones() -> None:
    found = read(exposition({("m", "p", "a"): 1}), URL, "d2")
    assert found.unknown == f"the gateway at {URL} runs another configuration"
    assert found.of(("m", "p", "a")) is None


@pytest.mark.parametrize("text", ["", "<html>hello</html>", 'other_info{hash="d1"} 1.0\n', "gateway_config_info{"])
def test_a_server_that_is_no_gateway_is_not_taken_for_one(text: str) -> None:
    assert read(text, URL, DIGEST).unknown == f"what answers at {URL} is no gateway"


@pytest.mark.parametrize(
    "line",
    [
        'gateway_target_state{model="m",provider="p",target="a"} 7.0',
        'gateway_target_state{model="m",provider="p",target="a"} NaN',
        'gateway_target_state{model="m",provider="p",target="a"} +Inf',
        'gateway_target_state{model="m",provider="p"} 1.0',
    ],
)
def test_a_state_from_a_newer_gateway_is_passed_over(line: str) -> None:
    assert read(f"{exposition({})}{line}\n", URL, DIGEST) == Live(URL)


@given(st.dictionaries(st.tuples(st.text(), st.text(), st.text()), st.sampled_from(Standing)))
def test_names_come_back_as_they_were_told_whatever_is_in_them(states: dict[tuple[str, str, str], Standing]) -> None:
    assert read(exposition({**states}), URL, DIGEST).states == states


@given(st.text(alphabet='ab_{}"\\,= 1.\n'))
def test_what_is_no_metric_is_passed_over(text: str) -> None:
    assert all(sample.name for sample in samples(text))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4000"),
        ("0.0.0.0", "http://127.0.0.1:4000"),
        ("::", "http://[::1]:4000"),
        ("[::]", "http://[::1]:4000"),
        ("::1", "http://[::1]:4000"),
        ("gateway.internal", "http://gateway.internal:4000"),
    ],
)
def test_a_gateway_is_reached_where_it_listens(host: str, url: str) -> None:
    assert address(Server(host)) == url
