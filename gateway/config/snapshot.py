"""The whole configuration, resolved and immutable: what the house runs on.

Every name here has been looked up and every rule checked; `gateway.config.resolve` builds it from what people wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from gateway.config.known import with_known
from gateway.core.call import UNLIMITED, Headers, Limits, Target
from gateway.core.secret import Secret
from gateway.vendors.vendor import Vendor, urls
from gateway.wire.sigv4 import AwsKeys

Strategy = Literal["weighted", "ordered", "least_busy", "fastest", "cheapest"]

OnHangup = Literal["cancel", "drain"]
"""What becomes of an answer whose client has left: it is cancelled, or read to its end for the sake of its usage."""

Priority = Literal["low", "normal", "high"]
"""Whose calls are refused first when the gateway has more to do than it can."""

Unsupported = Literal["drop", "error"]
"""What happens to fields of a request that a provider cannot express: they are dropped, or the request is refused."""

Every = Literal["hour", "day", "week", "month"]
"""A window of the calendar in UTC. Weeks begin on Monday."""

Permission = Literal[
    "llm_provider.view",
    "llm_provider.create",
    "llm_provider.edit",
    "llm_provider.delete",
    "llm_provider.test",
    "key.view",
    "key.create",
    "key.edit",
    "key.delete",
    "usage.view",
    "config.view",
    "config.reload",
]
"""What the holder of an admin token may be allowed to do."""

PERMISSIONS: tuple[Permission, ...] = get_args(Permission)

RedisDown = Literal["share", "closed"]
"""What happens to limits while Redis is away: each replica enforces its share of them, or calls are refused."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Four limits kept apart, in seconds."""

    connect: float = 5.0
    first_token: float = 60.0
    """From sending a streamed request to its first output. An unstreamed answer comes whole: only `total` bounds it."""
    idle: float = 120.0
    """The longest silence of a stream after its first output."""
    total: float = 600.0
    """The whole call, over all attempts."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a target is ill, and how long it is left alone. Times in seconds."""

    failures: int = 5
    """So many in a row eject it; or half of at least ten within the window."""
    window: float = 30.0
    ejection: float = 30.0
    """The first time; each further time in a row it is that much longer. The share of calls grows for so long after."""
    max_ejection: float = 300.0


@dataclass(frozen=True, slots=True)
class Provider:
    """An account at a vendor."""

    name: str
    vendor: Vendor
    base_url: str
    api_key: Secret | None = None
    headers: Headers = field(default=(), repr=False)
    """Organization, project and custom headers, for every request. Not shown: some hold credentials."""
    proxy: Secret | None = None
    """`http://[user:password@]host:port`; a secret because of the password."""
    ca_file: str | None = None
    """Certificate authorities to trust instead of the system's."""
    api_version: str | None = None
    region: str | None = None
    """Of AWS, where the vendor has regions."""
    aws_keys: AwsKeys | None = None
    """What requests are signed with. There are these, or an `api_key`, or neither and the default chain is asked."""
    aws_profile: str | None = None
    """The profile that the default chain begins with."""
    send_user_id: bool = False
    enabled: bool = True

    def urls(self, model: str) -> dict[str, str]:
        """The URL of every operation for one model. Raises ValueError for a name that no URL can hold."""
        return urls(self.vendor, self.base_url, model, self.api_version, self.region)


@dataclass(frozen=True, slots=True)
class Model:
    """A public name and where calls to it go."""

    name: str
    """As configured: a name, or a pattern with one `*`. It is this that metrics carry."""
    targets: tuple[Target, ...]
    weights: tuple[float, ...]
    strategy: Strategy = "weighted"
    fallbacks: tuple[str, ...] = ()
    context_fallbacks: tuple[str, ...] = ()
    """Public names for prompts that are too long for the targets."""
    content_fallbacks: tuple[str, ...] = ()
    """Public names for what a provider's content filter has refused."""
    timeouts: Timeouts = Timeouts()
    attempts: int = 3
    """Upstream attempts for one call at most, over all targets and fallbacks."""
    retry_share: float = 0.2
    """Of a provider's requests, the share that may be a second try at the same target."""
    breaker: Breaker = Breaker()
    sticky: bool = False
    """Whether a conversation stays with one target while that is well, so that the provider's prompt cache is warm."""
    hedge: float = 0.0
    """The share of streams for which a second target may be asked when the first is slow to begin; 0: never."""
    on_hangup: OnHangup = "cancel"
    unsupported: Unsupported = "drop"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a key may use in each window. At least one of the two is there."""

    every: Every
    usd_micros: int | None = None
    """Micro-dollars."""
    tokens: int | None = None
    """Of prompts and answers together."""


@dataclass(frozen=True, slots=True)
class Key:
    """Who calls. Known by the SHA-256 of the key; the key itself is not kept."""

    name: str
    digest: bytes = field(repr=False)
    models: tuple[str, ...] = ()
    """Names and patterns this key may use; empty: all."""
    expires: float | None = None
    """Seconds since 1970."""
    priority: Priority = "normal"
    limits: Limits = UNLIMITED
    budget: Budget | None = None
    place: str | None = field(default=None, compare=False)
    """`FILE:LINE` of the configuration that declares it; None: it was made at run time."""


@dataclass(frozen=True, slots=True)
class Server:
    host: str = "127.0.0.1"
    port: int = 4000
    max_body: int = 20 * 2**20
    """Bytes of a request's body."""
    drain: float = 120.0
    """Seconds that running calls have left when the server is asked to stop."""
    max_connections: int = 10_000
    """Clients connected at a time."""
    metrics_key: Secret | None = None
    litellm_metrics: bool = False
    """Whether the metrics are shown under LiteLLM's names too."""


@dataclass(frozen=True, slots=True)
class State:
    """Where replicas keep what they share, and what outlives them."""

    redis: Secret | None = None
    """`redis://[user:password@]host:port/database`, or `rediss://` with TLS; None: everything is kept in process."""
    redis_down: RedisDown = "share"
    database: Secret | None = None
    """`sqlite:///path` or `postgresql://[user:password@]host/name`: the ledger, and keys that were made at run time."""
    retention: float = 90 * 86400.0
    """Seconds for which the record of each call is kept. Sums by the hour stay."""


@dataclass(frozen=True, slots=True)
class AdminToken:
    """Who manages. Known by the SHA-256 of the token; the token itself is not kept."""

    name: str
    digest: bytes = field(repr=False)
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Kms:
    """A key of AWS KMS."""

    key_id: str
    """Its id, its ARN, or an alias: `alias/gateway`."""
    region: str
    endpoint_url: str | None = None
    """Where KMS is reached, if not at the region's own address."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Who may manage the gateway over HTTP, and what encrypts the secrets that they leave with it."""

    tokens: tuple[AdminToken, ...] = ()
    """Empty: nobody may."""
    encryption: Secret | Kms | None = None
    """32 bytes in base64, or a key of AWS KMS; None: no secret can be left here."""
    previous: tuple[Secret | Kms, ...] = ()
    """What has encrypted before. Nothing new is."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    server: Server
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    """Exact public names, aliases included."""
    patterns: tuple[tuple[str, str, Model], ...]
    """(prefix, suffix, model) of names with a `*`, the longest prefix first."""
    keys: Mapping[bytes, Key]
    """By the SHA-256 of the key. Empty: everyone may call, and only from this machine."""
    state: State = State()
    admin: Admin = Admin()
    default_model: str | None = None
    to_discover: Mapping[str, Model] = field(default_factory=dict)
    """By provider: what the models are like that its API lists, as a pattern of any name. See `config.discovered`."""
    waiting_aliases: Mapping[str, str] = field(default_factory=dict)
    """Aliases of names that are known only once the providers have said what they list."""
    digest: str = ""
    """SHA-256 of the configuration as it was read, in hex."""

    def model(self, name: str) -> Model | None:
        """Where calls to this public name go."""
        if found := self.models.get(name):
            return found
        for prefix, suffix, model in self.patterns:
            if len(name) > len(prefix) + len(suffix) and name.startswith(prefix) and name.endswith(suffix):
                return self.filled_in(model, name[len(prefix) : len(name) - len(suffix)])
        return None

    def filled_in(self, model: Model, text: str) -> Model | None:
        """A pattern's model, with what the `*` stood for put into the names of its targets."""
        try:
            return replace(model, targets=tuple(self._target(target, text) for target in model.targets))
        except ValueError:  # a name that cannot be part of a URL
            return None

    def _target(self, target: Target, text: str) -> Target:
        if "*" not in target.model:
            return target
        name, provider = target.model.replace("*", text, 1), self.providers[target.provider]
        return with_known(replace(target, model=name, urls=provider.urls(name)), provider.vendor)
