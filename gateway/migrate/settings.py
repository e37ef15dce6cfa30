"""The sections beside `model_list`: `litellm_settings`, `router_settings`, `general_settings`.

Some settings may stand in two of them; LiteLLM then goes by `router_settings`, and so does this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from gateway.config import values
from gateway.config.addresses import redis_url
from gateway.config.complaints import did_you_mean
from gateway.config.famous import FAMOUS, is_famous
from gateway.config.keys import SHORTEST
from gateway.config.snapshot import Strategy
from gateway.migrate import left_out
from gateway.migrate.draft import Draft
from gateway.migrate.fallbacks import LITELLM_KINDS
from gateway.migrate.groups import Wanted
from gateway.migrate.params import count, duration
from gateway.migrate.source import VARIABLE, Setting, in_our_spelling

Read = Callable[[Draft, Wanted, Setting], None]

OWN_DATABASE = "sqlite:///gateway.db"

STRATEGIES: Mapping[str, tuple[Strategy, str | None]] = {
    "simple-shuffle": ("weighted", None),
    "least-busy": ("least_busy", None),
    "latency-based-routing": ("fastest", "goes by the time to the first token"),
    "cost-based-routing": ("cheapest", "goes by what the call is likely to cost, where all prices are known"),
    "usage-based-routing": ("least_busy", "goes by calls under way; rpm and tpm are limits of the targets"),
    "usage-based-routing-v2": ("least_busy", "goes by calls under way; rpm and tpm are limits of the targets"),
}
"""What LiteLLM calls a strategy: what it is here, and what is different in it."""

AFFINITY = ("deployment_affinity", "session_affinity", "responses_api_deployment_check", "prompt_caching")

GUARDS = re.compile(
    r"guard|moderation|presidio|lakera|aporia|prompt_injection|hide_secrets|banned|blocked_user|content_safety"
)
"""Callbacks that judge what goes in or out."""


def _put(draft: Draft, section: str, field: str, value: Any) -> None:
    draft.content.setdefault(section, {})[field] = value


def _default(draft: Draft, section: str, field: str, value: Any) -> None:
    draft.content.setdefault("defaults", {}).setdefault(section, {})[field] = value


def _time(section: str, field: str, words: str) -> Read:
    def read(draft: Draft, wanted: Wanted, setting: Setting) -> None:
        length = duration(setting)
        _default(draft, section, field, length)
        draft.changed(setting, f"{section}.{field}: {length}; {words}", ("defaults",))

    return read


def _cooldown(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if setting.value == 0:
        draft.unsupported(setting, "a target that is ill is always left alone; the last one is asked all the same")
        return
    length = duration(setting)
    _default(draft, "breaker", "ejection", length)
    if isinstance(setting.value, int | float) and setting.value > 300:
        _default(draft, "breaker", "max_ejection", length)
    draft.changed(setting, f"breaker.ejection: {length}; the first time, longer each further time", ("defaults",))


def _retries(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if not isinstance(setting.value, int) or isinstance(setting.value, bool) or setting.value < 0:
        raise ValueError("is not a whole number")
    wanted.attempts = min(setting.value + 1, 10)
    _default(draft, "retries", "attempts", wanted.attempts)
    words = f"retries.attempts: {wanted.attempts}, over all targets and fallbacks of a call; LiteLLM counts each anew"
    draft.changed(setting, words, ("defaults",))


def _failures(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if not isinstance(setting.value, int) or isinstance(setting.value, bool) or not 0 <= setting.value < 1000:
        raise ValueError("is not a whole number")
    failures = setting.value + 1
    _default(draft, "breaker", "failures", failures)
    draft.changed(
        setting, f"breaker.failures: {failures} in a row, or half of ten; LiteLLM counts by the minute", ("defaults",)
    )


def _drops(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    what = "drop" if setting.value else "error"
    _put(draft, "defaults", "unsupported", what)
    draft.same(setting, f"defaults.unsupported: {what}; what is dropped is named in a header")


def _fine(words: str) -> Read:
    """Something that holds here without being written."""
    return lambda draft, wanted, setting: draft.same(setting, words)


def _callbacks(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    for each in setting.items() or [setting]:
        if each.text == "prometheus":
            _put(draft, "server", "litellm_metrics", True)
            draft.same(each, "server.litellm_metrics: true; /metrics has LiteLLM's names beside ours")
        elif GUARDS.search(each.text):
            draft.refused(each, "calls would go unguarded; put it before the gateway, and remove it here")
        elif "." in each.text and setting.key == "callbacks":
            draft.refused(each, "code is not run; if it changes or judges calls, they go unchanged and unjudged")
        else:
            draft.unsupported(each, left_out.OBSERVE)


def _metrics_key(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if setting.value is True:
        _put(draft, "server", "metrics_key", "${METRICS_KEY}")
        draft.changed(
            setting,
            "server.metrics_key: Prometheus shows what METRICS_KEY holds, and no key of a client's",
            ("server",),
        )
    else:
        draft.same(setting, "/metrics wants no key")


def _verify(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if setting.value is not True:
        raise ValueError("certificates are always verified; name an authority of your own in ca_file at its provider")
    draft.same(setting, "certificates are always verified")


def _master_key(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if not setting.text.startswith(VARIABLE):
        if is_famous(setting.text):
            raise ValueError(FAMOUS)
        if len(setting.text) < SHORTEST:
            raise ValueError(
                f"is shorter than {SHORTEST} characters, and can be guessed; make a better one: openssl rand -hex 24"
            )
    key, words = draft.value(setting, values.header_value), "a key for calls to every model; admins have admin.tokens"
    if not setting.text.startswith(VARIABLE):
        key = f"${{{draft.hidden(setting, 'LITELLM_MASTER_KEY', setting.text)}}}"
        words = f"stands in the file; put it into {key[2:-1]}; {words}"
    draft.content["keys"] = [{"name": "master", "key": key}]
    draft.origins["keys", 0] = setting.mark
    _put(draft, "server", "host", "0.0.0.0")  # noqa: S104  where LiteLLM listens, and there is a key now
    draft.remark(("server",), "host: like LiteLLM, on all addresses; without a key that would be refused")
    draft.changed(setting, words, ("keys",))


def _database(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    _put(draft, "state", "database", OWN_DATABASE)
    words = (
        f"state.database: {OWN_DATABASE}; of its own, so that both can run. `gateway import litellm-keys` brings keys"
    )
    draft.changed(setting, words, ("state",))


def _body(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    megabytes = count(draft, setting)
    _put(draft, "server", "max_body", f"{megabytes}MiB")
    draft.same(setting, f"server.max_body: {megabytes}MiB")


def _retention(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    _put(draft, "state", "retention", draft.value(setting, values.retention))
    draft.same(setting, "state.retention; sums by the hour stay")


def _strategy(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if setting.text not in STRATEGIES:
        draft.unsupported(
            setting, f"is no strategy here, so calls are shared out by weight; there are {', '.join(STRATEGIES)}"
        )
        return
    wanted.strategy, change = STRATEGIES[setting.text]
    wanted.enforced |= setting.text.startswith("usage")
    if change:
        draft.changed(setting, f"strategy: {wanted.strategy}; {change}", ("models",))
    else:
        draft.same(setting, f"strategy: {wanted.strategy}")


def _checks(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    for each in setting.items() or [setting]:
        if each.text == "enforce_model_rate_limits":
            wanted.enforced = True
            draft.same(each, "rpm and tpm are limits of the targets")
        elif each.text in AFFINITY:
            wanted.sticky = True
            draft.changed(each, "sticky: true; a conversation stays with its target by how it begins", ("models",))
        else:
            draft.unsupported(each, "there is no such check")


def _tags(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    if setting.value is True:
        raise ValueError(
            "rows that are for some callers only would be open to all; give them public names of their own"
        )
    draft.same(setting, "calls are not chosen by tags")


def _concurrent(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    wanted.concurrent = count(draft, setting)
    draft.same(setting, "limits.concurrent_requests of every target without one")


def _guardrails(draft: Draft, wanted: Wanted, setting: Setting) -> None:
    for each in setting.items():
        inner = each.by_key()
        params = inner.get("litellm_params") or next(iter(each.settings()), each)
        is_on = params.by_key().get("default_on")
        if is_on and is_on.value is True:
            draft.refused(each, "every call would go unguarded; put it before the gateway, and remove it here")
        else:
            draft.unsupported(each, left_out.GUARD)


def _refuse(words: str) -> Read:
    def read(draft: Draft, wanted: Wanted, setting: Setting) -> None:
        if setting.value in (False, None, [], ""):
            draft.same(setting, "is not wanted, and not there")
            return
        raise ValueError(words)

    return read


def write_redis(draft: Draft, router: Mapping[str, Setting], cache: Mapping[str, Setting]) -> None:
    """What replicas share, from the router's settings or else from those of the cache."""
    prefix, section = ("redis_", router) if {"redis_host", "redis_url"} & router.keys() else ("", cache)
    if not prefix and cache.get("type") and cache["type"].text != "redis":
        return
    found = {
        name: section[prefix + name] for name in ("url", "host", "port", "password", "ssl") if prefix + name in section
    }
    try:
        if "url" in found:
            address = draft.secret(found["url"], "REDIS_URL", redis_url)
        elif "host" in found:
            address = _address(draft, found)
        else:
            return
    except ValueError as error:
        draft.refused(found.get("url", found.get("host", next(iter(found.values())))), f"{error}; it is left out")
        return
    for setting in found.values():
        if setting.path not in draft.told:
            draft.same(setting, "part of state.redis, which replicas share limits and health through")
    _put(draft, "state", "redis", address)


def _address(draft: Draft, found: Mapping[str, Setting]) -> str:
    """One address for the parts."""
    password = ""
    if "password" in found and found["password"].text:
        setting = found["password"]
        if setting.text.startswith(VARIABLE):
            password = f":{in_our_spelling(setting.text)}@"
            draft.changed(
                setting, "is part of an address now: write /, ?, # and @ in it as %2F, %3F, %23 and %40", ("state",)
            )
        else:
            name = draft.hidden(setting, "REDIS_PASSWORD", quote(setting.text, safe=""))
            password = f":${{{name}}}@"
            draft.changed(setting, f"stands in the file; put it into {name}, with / ? # @ as %2F %3F %23 %40")
    port = draft.value(found["port"], values.whole(1, 65535)) if "port" in found and found["port"].text else "6379"
    scheme = "rediss" if "ssl" in found and found["ssl"].value is True else "redis"
    return f"{scheme}://{password}{draft.value(found['host'], values.text)}:{port}/0"


BOTH: Mapping[str, Read] = {
    "num_retries": _retries,
    "allowed_fails": _failures,
    "cooldown_time": _cooldown,
    "request_timeout": _time("timeouts", "total", "the whole call, over all attempts and targets"),
    "timeout": _time("timeouts", "total", "the whole call, over all attempts and targets"),
    "stream_timeout": _time("timeouts", "first_token", "from the request to the first output of a stream"),
}
"""What may stand in `litellm_settings` and in `router_settings`. Fallbacks may too."""

SAME_THING = {
    "request_timeout": "timeout",
    "default_fallbacks": "default_fallbacks",
    **{name: name for name in LITELLM_KINDS},
}

LITELLM: Mapping[str, Read] = {
    **BOTH,
    "drop_params": _drops,
    "modify_params": _fine("requests are always written as the provider wants them"),
    "json_logs": _fine("logs are JSON"),
    "callbacks": _callbacks,
    "success_callback": _callbacks,
    "failure_callback": _callbacks,
    "service_callback": _callbacks,
    "service_callbacks": _callbacks,
    "require_auth_for_metrics_endpoint": _metrics_key,
    "ssl_verify": _verify,
    "guardrails": _guardrails,
}

ROUTER: Mapping[str, Read] = {
    **BOTH,
    "routing_strategy": _strategy,
    "optional_pre_call_checks": _checks,
    "enable_pre_call_checks": _fine("prompts that are too long for a target go elsewhere, where its context is known"),
    "enable_pre_call_check": _fine("prompts that are too long for a target go elsewhere, where its context is known"),
    "enable_tag_filtering": _tags,
    "default_max_parallel_requests": _concurrent,
}

GENERAL: Mapping[str, Read] = {
    "master_key": _master_key,
    "database_url": _database,
    "max_request_size_mb": _body,
    "maximum_spend_logs_retention_period": _retention,
    "infer_model_from_keys": _fine("models are in this file"),
}

SECTIONS: Mapping[str, tuple[Mapping[str, Read], Mapping[str, str]]] = {
    "litellm_settings": (LITELLM, left_out.LITELLM),
    "router_settings": (ROUTER, left_out.ROUTER),
    "general_settings": (GENERAL, left_out.GENERAL),
}
"""Readers of a section's settings, and words for those that have none."""

APART = frozenset(
    ["default_fallbacks", "model_group_alias", "cache_params", *LITELLM_KINDS]
    + [f"redis_{part}" for part in ("url", "host", "port", "password", "ssl")]
)
"""Settings that are read when the models are known, or together."""


def read_section(draft: Draft, wanted: Wanted, section: Setting, winners: Mapping[str, Setting]) -> None:
    """Reads one section. `winners` are settings of another that say the same, and count instead."""
    readers, words = SECTIONS[section.key]
    known = [*readers, *words, *APART]
    for setting in section.settings():
        key = setting.key
        winner = winners.get(SAME_THING.get(key, key)) if key in BOTH or key in SAME_THING else None
        try:
            if winner is not None:
                draft.changed(setting, f"{winner.spelt} on line {winner.mark.line} counts, as in LiteLLM")
            elif setting.value in (None, [], {}):
                draft.same(setting, "nothing is written there")
            elif key in readers:
                readers[key](draft, wanted, setting)
            elif key in left_out.REFUSED:
                _refuse(left_out.REFUSED[key])(draft, wanted, setting)
            elif key not in APART:
                draft.left_out(setting, words.get(key) or f"has no counterpart here{did_you_mean(key, known)}")
        except ValueError as error:
            draft.refused(setting, f"{error}; it is left out")
