"""What people wrote, to what the gateway runs on: every name looked up, every rule between values checked.

`load` and `loads` are the way in. All complaints come at once, in a ConfigError; nothing is concluded from a value that
has a complaint already, so that one mistake is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from gateway.config.admin import resolve_admin
from gateway.config.complaints import Complaint, ConfigError, Review, Steps, did_you_mean
from gateway.config.fallbacks import check_fallbacks, edges
from gateway.config.famous import FAMOUS, is_famous
from gateway.config.inherited import check_times
from gateway.config.keys import check_host, resolve_keys
from gateway.config.models import patterns, published, to_discover
from gateway.config.names import overlap
from gateway.config.providers import resolve_provider
from gateway.config.read import read
from gateway.config.snapshot import Key, Model, Server, Snapshot, State
from gateway.config.spec import Spec
from gateway.config.unpriced import check_budgets
from gateway.config.vendor_table import VENDORS
from gateway.vendors.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, with what it was made of."""

    snapshot: Snapshot
    spec: Spec
    review: Review
    """Knows where each value stands."""


def load(path: Path, environ: Mapping[str, str]) -> Snapshot:
    """The configuration in a file. Raises ConfigError, also for a file that cannot be read."""
    return load_all(path, environ).snapshot


def load_all(path: Path, environ: Mapping[str, str]) -> Loaded:
    """The same, with what it was made of."""
    return loads_all(text_of(path), name=str(path), environ=environ)


def text_of(path: Path) -> str:
    """What stands in a file. Raises ConfigError."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError([Complaint(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        raise ConfigError([Complaint(str(path), line, column, "", "is not UTF-8 text; save it as UTF-8")]) from None


def loads(text: str, *, name: str, environ: Mapping[str, str]) -> Snapshot:
    """The configuration in a text. Raises ConfigError; `name` is what its complaints call the file."""
    return loads_all(text, name=name, environ=environ).snapshot


def loads_all(text: str, *, name: str, environ: Mapping[str, str]) -> Loaded:
    """The same, with what it was made of."""
    review = Review(name)
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    spec = read(Spec, text, review, environ)
    return Loaded(resolve(spec, VENDORS, review, digest), spec, review)


def resolve(spec: Spec, vendors: Mapping[str, Vendor], review: Review, digest: str) -> Snapshot:
    """The snapshot of a configuration. Raises ConfigError with all that was noted in the review, then and before."""
    found = {name: resolve_provider(name, written, vendors, review) for name, written in spec.providers.items()}
    providers = {name: provider for name, provider in found.items() if provider}
    names = published(spec, providers, review)
    exact = {name: entry.model for name, entry in names.items() if "*" not in name}
    snapshot = Snapshot(
        server=_server(spec, review),
        providers=providers,
        models=exact,
        patterns=patterns(names),
        keys={},
        state=_state(spec),
        default_model=spec.default_model,
        to_discover=to_discover(spec, providers),
        digest=digest,
    )
    aliases = _aliases(spec, snapshot, review)
    waiting = {alias: name for alias, name in spec.aliases.items() if snapshot.to_discover and alias not in aliases}
    snapshot = replace(snapshot, models=exact | aliases, waiting_aliases=waiting)
    if _names_are_known(spec, review):
        _check_names(spec, snapshot, review)
    check_fallbacks(spec, snapshot.model, review)
    check_times(spec, review)
    keys = _keys(spec, snapshot, review)
    admin = resolve_admin(spec.admin, keys, review)
    if _names_are_known(spec, review):
        check_budgets(spec, snapshot, review)
    check_host(spec, review)
    review.finish()
    return replace(snapshot, keys=keys, admin=admin)


def _server(spec: Spec, review: Review) -> Server:
    written = spec.server
    if written.metrics_key and is_famous(written.metrics_key.reveal()):
        review.complain(("server", "metrics_key"), FAMOUS)
    return Server(
        host=written.host,
        port=written.port,
        max_body=written.max_body,
        drain=written.drain,
        max_connections=written.max_connections,
        metrics_key=written.metrics_key,
        litellm_metrics=written.litellm_metrics,
    )


def _state(spec: Spec) -> State:
    written = spec.state
    return State(written.redis, written.redis_down, written.database, written.retention)


def _aliases(spec: Spec, snapshot: Snapshot, review: Review) -> dict[str, Model]:
    """The models behind the aliases that lead somewhere."""
    found = {}
    for alias, name in spec.aliases.items():
        path = ("aliases", alias)
        if alias in snapshot.models:
            review.complain(path, "is the name of a model already")
        elif name in spec.aliases:
            review.complain(path, f"{review.shown(path)} is an alias too; name the model itself")
        elif model := snapshot.model(name):
            found[alias] = model
        elif name and _names_are_known(spec, review):
            review.complain(path, f"there is no model {review.shown(path)}{did_you_mean(name, _names(snapshot))}")
    return found


def _check_names(spec: Spec, snapshot: Snapshot, review: Review) -> None:
    """Everything that names a model, but for aliases and keys."""
    mentions: dict[Steps, str | None] = {("default_model",): spec.default_model}
    mentions |= {edge.path: edge.to for edge in edges(spec)}
    known = [*_names(snapshot), *spec.aliases]
    for path, mentioned in mentions.items():
        if mentioned and mentioned not in spec.aliases and not snapshot.model(mentioned):
            review.complain(path, f"there is no model {review.shown(path)}{did_you_mean(mentioned, known)}")


def _keys(spec: Spec, snapshot: Snapshot, review: Review) -> dict[bytes, Key]:
    def covers(pattern: str) -> bool:
        return any(overlap(pattern, name) for name in known)

    known = [*_names(snapshot), *spec.aliases]
    return resolve_keys(spec, known, covers if _names_are_known(spec, review) else None, review)


def _names(snapshot: Snapshot) -> list[str]:
    return [*snapshot.models, *(f"{prefix}*{suffix}" for prefix, suffix, _ in snapshot.patterns)]


def _names_are_known(spec: Spec, review: Review) -> bool:
    """Whether all that publishes names could be read, so that a name that is not there is truly missing.

    It is not so where a provider has yet to say what it lists.
    """
    if any(provider.discovers and provider.enabled for provider in spec.providers.values()):
        return False
    sections = [("providers",), ("models",), ("aliases",), *(("providers", name, "models") for name in spec.providers)]
    return all(review.read_well(path) for path in sections)
