"""The rows of `model_list`: each a deployment, which becomes a target.

`litellm_params` holds how it is called, `model_info` what is known of it; a parameter may stand in either, for prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config import aws, values
from gateway.config.complaints import Steps, did_you_mean, quoted
from gateway.config.targets import UNUSABLE
from gateway.core.call import Price
from gateway.migrate.connection import HANDLED, Params, Place, connect
from gateway.migrate.draft import Draft, Fault
from gateway.migrate.left_out import MODES
from gateway.migrate.left_out import PARAMS as LEFT_OUT
from gateway.migrate.params import INFO, READERS
from gateway.migrate.source import Setting
from gateway.migrate.upstream import NotServed


@dataclass(slots=True)
class Row:
    """One deployment, as it comes together."""

    name: str
    """The public name."""
    at: Setting
    place: Place
    target: dict[str, Any] = field(default_factory=dict)
    """Fields of its entry in `targets`, but for provider, model and weight."""
    model: dict[str, Any] = field(default_factory=dict)
    """What holds for the whole model here, by its path there: `timeouts.total`."""
    said: dict[str, Setting] = field(default_factory=dict)
    """Where that stands."""
    shares: dict[str, Any] = field(default_factory=dict)
    """`weight`, `rpm` and `tpm`, by which LiteLLM shares calls out."""
    order: int | None = None
    prices: dict[str, str] = field(default_factory=dict)
    """US dollars per million tokens, by the field of `price`."""

    @property
    def about(self) -> Steps:
        return ("models", self.name)


def read_rows(draft: Draft, model_list: Setting, credentials: Mapping[str, Params]) -> list[Row]:
    """The deployments that can be called from here, in the order of the file."""
    return [row for at in model_list.items() if (row := _row(draft, at, credentials)) is not None]


def _row(draft: Draft, at: Setting, credentials: Mapping[str, Params]) -> Row | None:
    entry = at.by_key()
    named, written = entry.get("model_name"), entry.get("litellm_params")
    if named is None or not named.text or written is None or not _has_model(written):
        draft.refused(at, "has no model_name or no litellm_params.model; every row needs both")
        return None
    try:
        values.pattern(named.text)
    except ValueError as error:
        draft.refused(at, f"its model_name {error}")
        return None
    params = _with_credential(draft, written, credentials)
    info = entry["model_info"].by_key() if "model_info" in entry else {}
    told = len(draft.lines)
    try:
        _check_served(params, info)
        place = connect(draft, params, ("models", named.text))
        _check_model(params["model"], place.model, named.text)
    except (NotServed, Fault) as error:
        del draft.lines[told:]
        draft.told.add(at.path)
        if isinstance(error, Fault):
            draft.refused(error.setting, f"{error}; {quoted(named.text)} is left out")
        else:
            draft.unsupported(at, f"{quoted(named.text)} is left out: {error}")
        return None
    draft.same(named, "a public name")
    row = Row(named.text, at, place)
    _read(draft, row, params, READERS)
    _read(draft, row, info, INFO)
    _price(row)
    _complete_aws(draft, row, params)
    return row


def _has_model(written: Setting) -> bool:
    model = written.by_key().get("model")
    return model is not None and bool(model.text) and "${" not in model.text


def _with_credential(draft: Draft, written: Setting, credentials: Mapping[str, Params]) -> Params:
    """The parameters with those of the credential that they name. Their own win."""
    params = written.by_key()
    named = params.pop("litellm_credential_name", None)
    if named is None or not named.text:
        return params
    if named.text not in credentials:
        draft.refused(named, f"there is no credential {quoted(named.text)}{did_you_mean(named.text, credentials)}")
        return params
    draft.same(named, "its values are the provider's")
    return {**credentials[named.text], **params}


def _check_served(params: Params, info: Params) -> None:
    mode = info["mode"].text if "mode" in info else "chat"
    if mode not in MODES:
        raise NotServed(
            f"its mode is {quoted(mode)}, and only chats and embeddings are served; call its provider directly"
        )
    if "mock_response" in params:
        raise NotServed("its answers are made up; for drills there are the type echo and `gateway simulate`")


def _check_model(setting: Setting, model: str, public: str) -> None:
    try:
        values.pattern(model)
        if "*" in model and "*" not in public:
            raise ValueError("holds a *, but the model_name does not, so that nothing can stand for it")
        if model in UNUSABLE:
            raise ValueError("cannot be part of a URL")
    except ValueError as error:
        raise Fault(setting, str(error)) from None


def _read(draft: Draft, row: Row, params: Params, readers: Mapping[str, Callable[[Draft, Row, Setting], None]]) -> None:
    for key, setting in params.items():
        if key in HANDLED:
            continue
        try:
            if setting.value is None:
                draft.same(setting, "nothing is written there")
            elif key in readers:
                readers[key](draft, row, setting)
            else:
                draft.left_out(
                    setting, LEFT_OUT.get(key, "is not known here; fields of requests go into the model's defaults")
                )
        except ValueError as error:
            draft.refused(setting, f"{error}; it is left out")


def _complete_aws(draft: Draft, row: Row, params: Params) -> None:
    """LiteLLM takes what is missing of AWS's keys from the environment, and goes by a profile only without any."""
    fields = row.place.fields
    if any(name in fields for name in aws.KEYS):
        for name in aws.KEYS[:2]:
            fields.setdefault(name, f"${{AWS_{name.upper()}}}")
    if "profile" in fields and (aws.KEYS[0] in fields or "api_key" in fields):
        del fields["profile"]
        draft.changed(params["aws_profile_name"], "is not used: there are other credentials beside it", row.about)


def _price(row: Row) -> None:
    """Prices are written whole here: with one half of them missing, LiteLLM takes that for nothing."""
    if row.prices:
        whole = {"input": "0", "output": "0", **row.prices}
        row.target["price"] = {name: _number(whole[name]) for name in (*Price._fields[:4],) if name in whole}


def _number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)
