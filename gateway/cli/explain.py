"""`gateway explain`: where a call would go, and why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from gateway.app.times import now
from gateway.cli.configuration import complain, configured
from gateway.cli.explained import show
from gateway.cli.explanation import DEFAULT, Explanation, explain, is_complete
from gateway.cli.live import look
from gateway.cli.providers import look_at_all
from gateway.cli.telling import print_json, refuse
from gateway.cli.way import View
from gateway.config.complaints import ConfigError, did_you_mean, quoted
from gateway.config.discovered import with_discovered
from gateway.config.snapshot import Key, Snapshot


def run(name: str, *, config: Path | None, key: str | None, as_json: bool) -> int:
    """Prints where a call for this public name would go. Returns the exit status: 1 for a name that is not there."""
    try:
        loaded, _ = configured(config)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    try:
        view = View(loaded.snapshot, loaded.spec, look(loaded.snapshot))
        explanation = _explained(name, view, _key(key, loaded.snapshot))
    except LookupError as error:
        return refuse(str(error.args[0]), as_json=as_json)
    if as_json:
        live = {"url": view.live.url, "unknown": view.live.unknown}
        print_json({"ok": True, **asdict(explanation), "live": live})
    else:
        show(explanation, view.live)
    return 0


def _key(name: str | None, snapshot: Snapshot) -> Key | None:
    """The key of this name, if one was named. Raises LookupError."""
    keys = {key.name: key for key in snapshot.keys.values()}
    if name is None:
        return None
    if name in keys:
        return keys[name]
    if not keys:
        raise LookupError(f"there is no key {quoted(name)}: no keys are configured.")
    raise LookupError(f"there is no key {quoted(name)}{did_you_mean(name, keys)}. There are: {', '.join(keys)}.")


def _explained(name: str, view: View, key: Key | None) -> Explanation:
    """Where a call would go. Raises LookupError for a name that is not there.

    Providers that publish what they list are asked for that only if something is missing without it.
    """
    explanation, away = explain(name, view, key, now()), ""
    if view.snapshot.to_discover and (explanation is None or not is_complete(explanation)):
        view, away = _with_lists(view)
        explanation = explain(name, view, key, now())
    if explanation is None:
        raise LookupError(_unknown(name, view.snapshot) + away)
    return explanation


def _with_lists(view: View) -> tuple[View, str]:
    """The view with what providers list published too, and which of them could not be asked."""
    checks = look_at_all([view.snapshot.providers[name] for name in view.snapshot.to_discover])
    listed = {check.provider: check.models for check in checks if check.models is not None}
    away = "".join(f"\n{check.provider} did not say what it lists: {check.error}" for check in checks if check.error)
    return view._replace(snapshot=with_discovered(view.snapshot, listed)), away


def _unknown(name: str, snapshot: Snapshot) -> str:
    if name == DEFAULT and not snapshot.default_model:
        return "there is no default model; set default_model in the configuration."
    names = [*snapshot.models, *(f"{prefix}*{suffix}" for prefix, suffix, _ in snapshot.patterns)]
    return f"there is no model {quoted(name)}{did_you_mean(name, names)}. There are: {', '.join(names) or 'none'}."
