"""LiteLLM's parameters of a deployment that have a counterpart here, by name.

A reader raises ValueError, with words that follow the value in a complaint, for what cannot be meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from gateway.config import aws, values
from gateway.config.complaints import quoted
from gateway.config.models import CLIENTS_OWN
from gateway.migrate.draft import Draft
from gateway.migrate.source import Setting, in_our_spelling
from gateway.vendors.catalogue import about as known_of

if TYPE_CHECKING:
    from gateway.migrate.rows import Row

Read = Callable[[Draft, "Row", Setting], None]

SECRETIVE = re.compile(r"key|token|secret|passw|credential|auth|cookie", re.IGNORECASE)
"""Names whose values nobody may read."""
_LOOKS_SECRET = re.compile(r"(sk-|Bearer |AKIA|AIza|eyJ)\S{8}")

_MILLION = 1_000_000


def duration(setting: Setting) -> str:
    """Seconds, as a duration. Raises ValueError."""
    if setting.text.startswith("os.environ/"):
        return f"{in_our_spelling(setting.text)}s"
    number = _number(setting.text)
    text = f"{number:g}s" if float(number).is_integer() else f"{number * 1000:g}ms"
    values.wait(text)
    return text


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is not a number of seconds") from None
    if not 0 < number < values.LONGEST:
        raise ValueError("is not above 0 and up to a year")
    return number


def count(draft: Draft, setting: Setting) -> int | str:
    """A whole number from 1, or a variable that holds one. Raises ValueError."""
    written = draft.value(setting, values.count)
    return written if written.startswith("${") else values.count(setting.text)


def provider(field: str, read: values.Reader) -> Read:
    """Something of the provider's."""

    def reader(draft: Draft, row: Row, setting: Setting) -> None:
        if _means_nothing(draft, row, setting, field):
            return
        row.place.fields[field] = draft.value(setting, read)
        draft.same(setting, f"the provider's {field}")

    return reader


def secret(field: str, variable: str) -> Read:
    """A credential of the provider's."""

    def reader(draft: Draft, row: Row, setting: Setting) -> None:
        if not _means_nothing(draft, row, setting, field):
            row.place.fields[field] = draft.secret(setting, variable, values.header_value)

    return reader


def _means_nothing(draft: Draft, row: Row, setting: Setting, field: str) -> bool:
    """Tells of what only AWS would understand, at a provider that is not AWS's."""
    nothing = field in aws.FIELDS and row.place.type != "bedrock"
    if nothing:
        draft.unsupported(setting, f"means nothing to the type {row.place.type}")
    return nothing


def share(draft: Draft, row: Row, setting: Setting) -> None:
    """What calls are shared out by, and perhaps limited to: said of when the whole group is known."""
    row.shares[setting.key] = count(draft, setting) if setting.value != 0 else 0
    row.said[setting.key] = setting


def order(draft: Draft, row: Row, setting: Setting) -> None:
    if not isinstance(setting.value, int):
        raise ValueError("is not a whole number")
    row.order = setting.value
    row.said["order"] = setting


def concurrent(draft: Draft, row: Row, setting: Setting) -> None:
    row.target.setdefault("limits", {})["concurrent_requests"] = count(draft, setting)
    draft.same(setting, "limits.concurrent_requests of the target")


def of_model(path: str, words: str) -> Read:
    """A duration that holds for the whole model here."""

    def reader(draft: Draft, row: Row, setting: Setting) -> None:
        row.model[path] = duration(setting)
        row.said[path] = setting
        draft.changed(setting, f"{path}: {row.model[path]}; {words}", row.about)

    return reader


def retries(draft: Draft, row: Row, setting: Setting) -> None:
    if not isinstance(setting.value, int) or setting.value < 0:
        raise ValueError("is not a whole number")
    row.model["retries.attempts"] = min(setting.value + 1, 10)
    row.said["retries.attempts"] = setting
    draft.changed(
        setting,
        f"retries.attempts: {row.model['retries.attempts']}, over all targets and fallbacks of a call",
        row.about,
    )


def headers(draft: Draft, row: Row, setting: Setting) -> None:
    found: dict[str, str] = {}
    for header in setting.settings():
        name = values.header_name(header.key)
        if SECRETIVE.search(name) or _LOOKS_SECRET.search(header.text):
            found[name] = draft.secret(header, f"{row.place.prefix}_{name}", values.header_value)
        else:
            found[name] = draft.value(header, values.header_value)
            draft.same(header, "a header for every request to the provider")
    if found:
        row.place.fields["headers"] = row.place.fields.get("headers", {}) | found


def default(draft: Draft, row: Row, setting: Setting) -> None:
    """A field of the request."""
    if setting.key in CLIENTS_OWN:
        draft.unsupported(setting, "is always the client's own")
        return
    row.model[f"defaults.{setting.key}"] = plain(setting)
    row.said[f"defaults.{setting.key}"] = setting
    draft.same(setting, "filled in where the client sends nothing")


def body(draft: Draft, row: Row, setting: Setting) -> None:
    """Fields that LiteLLM adds to each request, whatever the client sends."""
    for each in setting.settings():
        if each.key in CLIENTS_OWN:
            draft.unsupported(each, "is always the client's own")
            continue
        try:
            _check_name(each)
            row.model[f"defaults.{each.key}"] = plain(each)
        except ValueError as error:
            draft.refused(each, f"{error}; it is left out")
            continue
        row.said[f"defaults.{each.key}"] = each
        draft.changed(each, "filled in only where the client sends nothing", row.about)


def plain(setting: Setting) -> Any:
    """A value of JSON in our spelling. Raises ValueError for what it cannot be, and for what should not be read."""
    if SECRETIVE.search(setting.key.replace("tokens", "")):
        raise ValueError("may be a secret, and the fields of requests have no place for those")
    if below := setting.settings():
        for each in below:
            _check_name(each)
        return {each.key: plain(each) for each in below}
    if below := setting.items():
        return [plain(each) for each in below]
    value = setting.value
    if not isinstance(value, str):
        return value
    if _LOOKS_SECRET.search(value):
        raise ValueError("may be a secret, and the fields of requests have no place for those")
    return in_our_spelling(value)


def _check_name(setting: Setting) -> None:
    if "${" in setting.key or not setting.key:
        raise ValueError(f"holds the name {quoted(setting.key)}, which cannot be written here")
    values.text(setting.key)


def price(field: str) -> Read:
    """US dollars for a token, which are written per million here."""

    def reader(draft: Draft, row: Row, setting: Setting) -> None:
        try:
            amount = Decimal(setting.text) * _MILLION
        except InvalidOperation:
            raise ValueError("is not a number of US dollars") from None
        text = f"{amount.normalize():f}"
        values.dollars(text)
        row.prices[field] = text
        draft.same(setting, f"price.{field}: {text} US dollars per million tokens")

    return reader


def context(draft: Draft, row: Row, setting: Setting) -> None:
    row.target["context"] = count(draft, setting)
    draft.same(setting, "context of the target")


def can(need: str) -> Read:
    """What the model can do, or not."""

    def reader(draft: Draft, row: Row, setting: Setting) -> None:
        if setting.value is False:
            row.target.setdefault("lacks", []).append(need)
            draft.same(setting, f"the target lacks {need}")
        else:
            draft.same(setting, "calls that need it may go there")

    return reader


def base_model(draft: Draft, row: Row, setting: Setting) -> None:
    """What a deployment really is. Only its price and its size are wanted."""
    vendor, _, name = setting.text.rpartition("/")
    known = known_of({"": "openai", "azure": "openai"}.get(vendor, vendor), name)
    if known is None or known.price is None:
        draft.unsupported(setting, "nothing is known of it; write price and context at the target")
        return
    found = {name: value for name, value in known.price._asdict().items() if name != "above" and value is not None}
    row.prices = {name: f"{Decimal(str(value)).normalize():f}" for name, value in found.items()} | row.prices
    if known.context:
        row.target.setdefault("context", known.context)
    draft.same(setting, "its price and context stand at the target")


def tags(draft: Draft, row: Row, setting: Setting) -> None:
    draft.unsupported(setting, "who may go there is not chosen by tags; publish it under a name of its own")


def verify(draft: Draft, row: Row, setting: Setting) -> None:
    if setting.value is True:
        draft.same(setting, "certificates are always verified")
    elif setting.value is False:
        raise ValueError("certificates are always verified; name the authority of your own in the provider's ca_file")
    else:
        provider("ca_file", values.text)(draft, row, setting)


def drops(draft: Draft, row: Row, setting: Setting) -> None:
    row.model["unsupported"] = "drop" if setting.value else "error"
    row.said["unsupported"] = setting
    draft.same(setting, f"unsupported: {row.model['unsupported']}; what is dropped is named in a header")


def clients_address(draft: Draft, row: Row, setting: Setting) -> None:
    raise ValueError("lets clients choose where the gateway connects to, and with which key")


PRICES: Mapping[str, Read] = {
    "input_cost_per_token": price("input"),
    "output_cost_per_token": price("output"),
    "cache_read_input_token_cost": price("cache_read"),
    "cache_creation_input_token_cost": price("cache_write"),
}

DEFAULTS = (
    *("temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "n", "stop", "seed", "user"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs"),
    *("response_format", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "thinking", "verbosity"),
    *("modalities", "service_tier", "dimensions", "encoding_format", "input_type", "num_ctx", "keep_alive"),
    *(
        "safe_prompt",
        "chat_template_kwargs",
        "web_search_options",
        "prediction",
        "stream",
        "messages",
        "stream_options",
    ),
)
"""Fields of requests that people fill in for everyone."""

READERS: Mapping[str, Read] = {
    "organization": provider("organization", values.header_value),
    "rpm": share,
    "tpm": share,
    "weight": share,
    "order": order,
    "max_parallel_requests": concurrent,
    "timeout": of_model("timeouts.total", "the whole call, over all attempts and targets"),
    "stream_timeout": of_model("timeouts.first_token", "from the request to the first output of a stream"),
    "cooldown_time": of_model("breaker.ejection", "the first time; longer each further time"),
    "max_retries": retries,
    "num_retries": retries,
    "headers": headers,
    "extra_headers": headers,
    "extra_body": body,
    "aws_access_key_id": secret("access_key_id", "AWS_ACCESS_KEY_ID"),
    "aws_secret_access_key": secret("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    "aws_session_token": secret("session_token", "AWS_SESSION_TOKEN"),
    "aws_profile_name": provider("profile", values.text),
    "drop_params": drops,
    "tags": tags,
    "ssl_verify": verify,
    "configurable_clientside_auth_params": clients_address,
    **PRICES,
    **dict.fromkeys(DEFAULTS, default),
}

INFO: Mapping[str, Read] = {
    "mode": lambda draft, row, setting: draft.same(setting, "is served"),
    "base_model": base_model,
    "max_input_tokens": context,
    "supports_vision": can("images"),
    "supports_function_calling": can("tools"),
    "supports_response_schema": can("schema"),
    **PRICES,
}
