"""Our metrics under LiteLLM's names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.sinks.litellm_names import ROWS, litellm_names
from gateway.sinks.metrics import Metrics
from tests.house.harness import QUESTION, config, gateway

WHO = {"api_key_alias": "web-app", "hashed_api_key": "None", "team": "None"}


def counted() -> Metrics:
    metrics = Metrics()
    metrics.requests.series["chat", "gpt-4o", "azure", "web-app", "200"].value += 3
    metrics.requests.series["chat", "gpt-4o", "openai", "web-app", "200"].value += 1
    metrics.requests.series["chat", "gpt-4o", "openai", "web-app", "429"].value += 2
    metrics.tokens.series["web-app", "gpt-4o", "azure", "input"].value += 100
    metrics.tokens.series["web-app", "gpt-4o", "azure", "output"].value += 20
    metrics.tokens.series["web-app", "gpt-4o", "azure", "cache_read"].value += 60
    metrics.cost.series["web-app", "gpt-4o", "azure"].value += 1_500_000
    metrics.duration.observe(metrics.duration.series["chat", "gpt-4o", "azure"], 0.3)
    metrics.duration.observe(metrics.duration.series["chat", "gpt-4o", "openai"], 700.0)
    metrics.attempts.series["gpt-4o", "azure", "ok"].value += 3
    metrics.attempts.series["gpt-4o", "azure", "overloaded"].value += 1
    metrics.attempts.series["gpt-4o", "azure", "cancelled"].value += 1
    metrics.target_state.series["gpt-4o", "azure", "my-deployment"] = 2
    metrics.target_state.series["other", "azure", "my-deployment"] = 0
    metrics.in_flight.series[()] = 4
    return metrics


class Translated(Collector):
    def collect(self) -> list[Metric]:
        return list(litellm_names(counted().collect()))


def shown() -> dict[str, list[tuple[dict[str, str], float]]]:
    """What Prometheus would read, through the text that it reads."""
    registry = CollectorRegistry()
    registry.register(Translated())
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def value(name: str, **labels: str) -> float:
    (found,) = (value for series, value in shown()[name] if labels.items() <= series.items())
    return found


def test_calls_are_counted_by_key_model_and_status() -> None:
    asked = {**WHO, "requested_model": "gpt-4o", "route": "/v1/chat/completions"}
    assert value("litellm_proxy_total_requests_metric_total", status_code="200", **asked) == 4
    assert value("litellm_proxy_total_requests_metric_total", status_code="429", **asked) == 2
    assert value("litellm_proxy_failed_requests_metric_total", exception_class="RateLimitError", **asked) == 2
    assert value("litellm_requests_metric_total", model="gpt-4o", **WHO) == 4


def test_tokens_and_dollars_are_those_of_the_ledger() -> None:
    assert value("litellm_input_tokens_metric_total", **WHO) == 100
    assert value("litellm_output_tokens_metric_total", **WHO) == 20
    assert value("litellm_total_tokens_metric_total", **WHO) == 120
    assert value("litellm_spend_metric_total", **WHO) == 1.5


def test_times_keep_their_buckets() -> None:
    name = "litellm_request_total_latency_metric"
    assert value(f"{name}_bucket", le="0.5") == 1
    assert value(f"{name}_bucket", le="+Inf") == 2
    assert value(f"{name}_count") == 2
    assert value(f"{name}_sum") == 700.3


def test_deployments_are_targets() -> None:
    at = {"requested_model": "gpt-4o", "api_provider": "azure"}
    assert value("litellm_deployment_total_requests_total", **at) == 5
    assert value("litellm_deployment_success_responses_total", **at) == 3
    assert value("litellm_deployment_failure_responses_total", exception_class="overloaded", **at) == 1
    assert len(shown()["litellm_deployment_failure_responses_total"]) == 1
    assert value("litellm_deployment_state", litellm_model_name="my-deployment") == 2
    assert value("litellm_in_flight_requests") == 4


def test_every_name_comes_from_a_family_that_is_there() -> None:
    assert {row.source for row in ROWS} <= {family.name for family in Metrics().collect()}


def test_no_series_is_told_twice() -> None:
    for name, series in shown().items():
        labels = [tuple(sorted(found.items())) for found, _ in series]
        assert len(labels) == len(set(labels)), name


async def test_the_gateway_tells_both_names_where_the_configuration_wants_it() -> None:
    text = config("http://127.0.0.1:9", extra="server: {litellm_metrics: true}\n")
    async with gateway(text) as running:
        await running.client.post("/v1/chat/completions", json=QUESTION)
        told = (await running.client.get("/metrics")).text
    assert "\ngateway_requests_total{" in told
    assert "\nlitellm_proxy_total_requests_metric_total{" in told
