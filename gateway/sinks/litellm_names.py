"""Our series under the names that LiteLLM gives them, so that dashboards and alerts which were made for those live on.

They are made of ours when somebody looks, so they cost nothing on the path of a call. Labels are LiteLLM's too; what is
not known here, such as teams, says `None`, as it does there. https://docs.litellm.ai/docs/proxy/prometheus
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import Metric

UNKNOWN = "None"
"""How LiteLLM writes a label without a value."""

Ours = Mapping[str, str]
"""The labels of one of our series."""


class Row(NamedTuple):
    """One family of LiteLLM's."""

    name: str
    source: str
    """The family of ours that it is made of."""
    labels: tuple[str, ...]
    only: Callable[[Ours], bool] = bool
    """Which of our series count; all that have labels, if nothing is said."""


EXCEPTIONS = {
    "400": "BadRequestError",
    "401": "AuthenticationError",
    "403": "PermissionDeniedError",
    "404": "NotFoundError",
    "413": "BadRequestError",
    "422": "UnprocessableEntityError",
    "429": "RateLimitError",
    "503": "ServiceUnavailableError",
    "504": "Timeout",
}
"""What LiteLLM calls the error behind a status. Others are an InternalServerError."""

ROUTES = {"chat": "/v1/chat/completions", "embeddings": "/v1/embeddings"}

VALUES: Mapping[str, Callable[[Ours], str | None]] = {
    "api_key_alias": lambda ours: ours.get("key"),
    "requested_model": lambda ours: ours.get("model"),
    "model": lambda ours: ours.get("model"),
    "model_group": lambda ours: ours.get("model"),
    "litellm_model_name": lambda ours: ours.get("target", ours.get("model")),
    "api_provider": lambda ours: ours.get("provider"),
    "status_code": lambda ours: ours.get("status"),
    "route": lambda ours: ROUTES.get(ours.get("endpoint", "")),
    "exception_status": lambda ours: ours.get("status"),
    "exception_class": lambda ours: ours.get("outcome") or EXCEPTIONS.get(ours["status"], "InternalServerError"),
}
"""LiteLLM's labels out of ours."""

KEY = ("hashed_api_key", "api_key_alias")
TEAM = ("team", "team_alias")
PAYER = ("end_user", *KEY, "model", *TEAM, "user")
ASKED = ("end_user", *KEY, "requested_model", *TEAM, "user")
DEPLOYMENT = ("litellm_model_name", "model_id", "api_base", "api_provider")
ATTEMPT = ("requested_model", *DEPLOYMENT, *KEY, *TEAM)

NO_FAILURE = ("ok", "cancelled", "outpaced")
"""Outcomes of an attempt that are not the deployment's fault."""


def _unknown(ours: Ours) -> None:
    return None


def _is(label: str, *values: str) -> Callable[[Ours], bool]:
    return lambda ours: ours.get(label) in values


ROWS = (
    Row(
        "litellm_proxy_total_requests_metric",
        "gateway_requests",
        (*ASKED, "status_code", "user_email", "route", "model_id"),
    ),
    Row(
        "litellm_proxy_failed_requests_metric",
        "gateway_requests",
        (*ASKED, "user_email", "exception_status", "exception_class", "route", "model_id"),
        lambda ours: ours["status"] >= "400",
    ),
    Row("litellm_requests_metric", "gateway_requests", (*PAYER, "user_email"), lambda ours: ours["status"] < "400"),
    Row("litellm_spend_metric", "gateway_cost_dollars", PAYER),
    Row("litellm_total_tokens_metric", "gateway_tokens", (*ASKED, "model"), _is("type", "input", "output")),
    Row("litellm_input_tokens_metric", "gateway_tokens", (*ASKED, "model"), _is("type", "input")),
    Row("litellm_output_tokens_metric", "gateway_tokens", (*ASKED, "model"), _is("type", "output")),
    Row("litellm_request_total_latency_metric", "gateway_request_duration_seconds", (*ASKED, "model", "model_id")),
    Row("litellm_llm_api_latency_metric", "gateway_request_duration_seconds", (*ASKED, "model")),
    Row(
        "litellm_llm_api_time_to_first_token_metric",
        "gateway_time_to_first_token_seconds",
        (*ASKED, "model", "model_id"),
    ),
    Row("litellm_overhead_latency_metric", "gateway_overhead_seconds", ("model_group", "api_provider", *KEY)),
    Row("litellm_deployment_total_requests", "gateway_upstream_attempts", ATTEMPT),
    Row("litellm_deployment_success_responses", "gateway_upstream_attempts", ATTEMPT, _is("outcome", "ok")),
    Row(
        "litellm_deployment_failure_responses",
        "gateway_upstream_attempts",
        (*ATTEMPT, "exception_status", "exception_class"),
        lambda ours: ours["outcome"] not in NO_FAILURE,
    ),
    Row("litellm_deployment_state", "gateway_target_state", DEPLOYMENT),
    Row("litellm_in_flight_requests", "gateway_in_flight_requests", (), lambda ours: True),
    Row("litellm_redis_fails", "gateway_redis_errors", ()),
)
"""Everything that ours can tell. LiteLLM's gauges of budgets, teams and remaining limits are in the ledger here, and in
the headers of answers."""


def litellm_names(families: Iterable[Metric]) -> Iterator[Metric]:
    """LiteLLM's families, for ours."""
    ours = {family.name: family for family in families}
    for row in ROWS:
        if row.source in ours:
            yield _translated(row, ours[row.source])


def _translated(row: Row, source: Metric) -> Metric:
    """Series of ours that are one there are added up; of states the worst counts."""
    values: dict[tuple[str, tuple[str, ...], str], float] = {}
    for sample in source.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        if not row.only(labels):
            continue
        theirs = tuple(VALUES.get(name, _unknown)(labels) or UNKNOWN for name in row.labels)
        key = (sample.name.removeprefix(source.name), theirs, sample.labels.get("le", ""))
        known = values.get(key, 0.0)
        values[key] = max(known, sample.value) if source.type == "gauge" else known + sample.value
    family = Metric(row.name, f"{source.documentation}: {source.name}", source.type)
    for (suffix, theirs, bound), value in values.items():
        bucket = {"le": bound} if bound else {}
        family.add_sample(row.name + suffix, {**dict(zip(row.labels, theirs, strict=True)), **bucket}, value)
    return family
