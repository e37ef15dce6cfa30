"""Where a deployment is and what it is shown: LiteLLM's parameters for that, as an entry of `providers`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.config import values
from gateway.config.addresses import base_url
from gateway.config.complaints import Steps, quoted
from gateway.migrate.draft import Draft
from gateway.migrate.makers import ALSO, MAKERS, Maker, guess
from gateway.migrate.source import Setting
from gateway.migrate.upstream import NotServed, upstream

Params = Mapping[str, Setting]

HANDLED = frozenset(
    [
        *("model", "custom_llm_provider", "api_key", "api_base", "base_url", "api_version", "aws_region_name"),
        *(
            "aws_bedrock_runtime_endpoint",
            "vertex_project",
            "vertex_location",
            "vertex_ai_project",
            "vertex_ai_location",
        ),
    ]
)
"""The parameters that are read here."""

PLACEHOLDERS = re.compile(
    r"(sk-)?(none|null|dummy|fake|empty|anything|test|x+|1234|no-key(-required)?|not[-_ ]needed|ollama|vllm|lm-studio)"
    r"([-_]key)?",
    re.IGNORECASE,
)
"""What people write as the key of a server that wants none."""

AZURE_VERSION = "2024-10-21"
"""The last version that is not a preview: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle."""
AZURE_V1 = ("v1", "preview", "latest")
"""Versions by which LiteLLM means the API without dated versions."""

OPENAI_HOSTS = ("api.openai.com", "eu.api.openai.com", "us.api.openai.com")

_CALLS = re.compile(r"(/v1/messages|/chat/completions|/embeddings|/completions|/chat|/embed)?/*(\?.*)?$")
_DEPLOYMENT = re.compile(r"(/openai(/deployments/.*)?)?/*$")


@dataclass(slots=True)
class Place:
    """One deployment's, as it comes together."""

    prefix: str
    maker: Maker
    model: str
    type: str
    fields: dict[str, Any] = field(default_factory=dict)
    """Of its entry in `providers`, but for the type."""


def connect(draft: Draft, params: Params, about: Steps) -> Place:
    """The place that parameters speak of. Raises NotServed if there is no way to it from here."""
    prefix, model = _prefix(draft, params, about)
    maker = MAKERS[prefix]
    name = upstream(prefix, model)
    for change in (maker.note, *name.changes):
        if change:
            draft.changed(params["model"], change, about)
    place = Place(prefix, maker, name.model, maker.type, dict(name.fields))
    _address(draft, place, params, about)
    _key(draft, place, params, about)
    for read in (_azure, _aws, _vertex):
        read(draft, place, params, about)
    if place.type == "openai_compatible" and "base_url" not in place.fields:
        raise NotServed("it has no api_base, and its address is not known; write one")
    if params["model"].path not in draft.told:
        draft.same(params["model"], f"{place.model} at a provider of the type {place.type}")
    return place


def key_if_none_is_written(params: Params) -> Iterator[str]:
    """The variable that LiteLLM takes a deployment's key from, if its row has none."""
    model = params["model"].text if "model" in params else ""
    if "api_key" not in params or not params["api_key"].text:
        first = model.partition("/")[0]
        prefix = ALSO.get(first, first) if "/" in model else guess(model)
        if prefix and prefix in MAKERS and (key := MAKERS[prefix].key):
            yield key


def _prefix(draft: Draft, params: Params, about: Steps) -> tuple[str, str]:
    """The prefix of LiteLLM's that decides how a model is called, and what stands behind it."""
    setting = params["model"]
    named = params["custom_llm_provider"].text if "custom_llm_provider" in params else ""
    first, slash, rest = setting.text.partition("/")
    if named:
        draft.same(params["custom_llm_provider"], "says who is called")
        prefix, model = named, rest if first == named and slash else setting.text
    elif slash and ALSO.get(first, first) in MAKERS:
        prefix, model = first, rest
    elif (guessed := guess(setting.text)) and not slash:
        draft.changed(setting, f"names nobody who serves it; {guessed}, as LiteLLM would guess", about)
        return guessed, setting.text
    else:
        prefix, model = (first, rest) if slash else ("", setting.text)
    prefix = ALSO.get(prefix, prefix)
    if prefix not in MAKERS:
        who = f"{quoted(prefix + '/')} is nobody known here" if prefix else "nobody knows who serves it"
        raise NotServed(f"{who}; if its server speaks OpenAI's API, write openai/ and its api_base")
    return prefix, model


def _address(draft: Draft, place: Place, params: Params, about: Steps) -> None:
    setting = params.get("api_base") or params.get("base_url")
    endpoint = params.get("aws_bedrock_runtime_endpoint")
    where = "endpoint_url" if place.type == "bedrock" else "base_url"
    setting = endpoint if endpoint and place.type == "bedrock" else setting
    if setting is None or not setting.text:
        if place.maker.base:
            place.fields[where] = place.maker.base + ("/openai/v1" if place.prefix == "azure_ai" else "")
        return
    written = draft.value(setting, base_url if "?" not in setting.text else str)
    fitting = _fitting(written, place)
    if place.type == "openai" and urlsplit(fitting).hostname not in OPENAI_HOSTS:
        place.type = "openai_compatible"
    if fitting == written.rstrip("/"):
        draft.same(setting, f"the provider's {where}")
    else:
        draft.changed(setting, f"the provider's {where} is {fitting}: paths are joined to it", about)
    if fitting != place.maker.vendor.base_url:
        place.fields[where] = fitting


def _fitting(written: str, place: Place) -> str:
    """The prefix to which our paths are joined, for an address of LiteLLM's."""
    address = _CALLS.sub("", written) if "://" in written else written.rstrip("/")
    if place.type == "azure":
        address = _DEPLOYMENT.sub("", address)
    if place.prefix == "azure_ai":
        return re.sub(r"/models$", "", address) + "/openai/v1"
    ending = place.maker.ending
    return address if not ending or re.search(r"/v\d\w*$", address) else address + ending


def _key(draft: Draft, place: Place, params: Params, about: Steps) -> None:
    setting = params.get("api_key")
    if place.type == "bedrock":
        if setting is not None and setting.text:
            place.fields["api_key"] = draft.secret(setting, "BEDROCK_API_KEY", values.header_value)
        return
    is_needed = place.maker.vendor.key_required and place.type != "openai_compatible"
    if setting is None or not setting.text:
        if place.type == "openai_compatible" and place.prefix == "openai":
            draft.changed(
                params["model"], "no key is sent: LiteLLM would send OPENAI_API_KEY to another's server", about
            )
        elif place.maker.key:
            place.fields["api_key"] = f"${{{place.maker.key}}}"
        return
    if not is_needed and PLACEHOLDERS.fullmatch(setting.text):
        draft.changed(setting, "stands for no key; none is sent", about)
        return
    variable = place.maker.key or f"{place.prefix}_API_KEY"
    place.fields["api_key"] = draft.secret(setting, variable, values.header_value)


def _azure(draft: Draft, place: Place, params: Params, about: Steps) -> None:
    setting = params.get("api_version")
    if place.type != "azure" or place.prefix == "azure_ai":
        return
    if setting is None or not setting.text:
        place.fields["api_version"] = f"${{AZURE_API_VERSION:-{AZURE_VERSION}}}"
        draft.changed(params["model"], f"names no api_version: AZURE_API_VERSION, or else {AZURE_VERSION}", about)
    elif setting.text in AZURE_V1:
        place.fields["base_url"] += "/openai/v1"
        draft.same(setting, "the provider's base_url ends in /openai/v1")
    else:
        place.fields["api_version"] = draft.value(setting, values.exact)
        draft.same(setting, "the provider's api_version")


def _aws(draft: Draft, place: Place, params: Params, about: Steps) -> None:
    setting = params.get("aws_region_name")
    if place.type != "bedrock":
        return
    if setting is not None and setting.text:
        place.fields.setdefault("region", draft.value(setting, values.region))
        draft.same(setting, "the provider's region")
    elif "region" not in place.fields:
        place.fields["region"] = "${AWS_REGION_NAME:-us-west-2}"
        draft.changed(params["model"], "names no region: AWS_REGION_NAME, or else us-west-2, as in LiteLLM", about)


def _vertex(draft: Draft, place: Place, params: Params, about: Steps) -> None:
    if place.prefix != "vertex_ai" or "base_url" in place.fields:
        return
    project, location = (
        params.get(f"vertex_{what}") or params.get(f"vertex_ai_{what}") for what in ("project", "location")
    )
    for setting in filter(None, (project, location)):
        draft.same(setting, "part of the provider's base_url")
    within = draft.value(project, values.word) if project and project.text else "${VERTEXAI_PROJECT}"
    where = draft.value(location, values.word) if location and location.text else "${VERTEXAI_LOCATION:-us-central1}"
    host = "aiplatform.googleapis.com" if where == "global" else f"{where}-aiplatform.googleapis.com"
    place.fields["base_url"] = f"https://{host}/v1/projects/{within}/locations/{where}/publishers/google"
