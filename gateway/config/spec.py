"""What people write: one record per mapping of the configuration file.

These say which fields there are and how each value is written; `gateway.config.fill` reads a file into them, and
`gateway.config.schema` has pydantic make the JSON schema for editors of them. What must hold between values is checked
by `gateway.config.resolve`. A field that is None was not written.

Plain dataclasses, so that only the schema needs pydantic: importing it takes as long as all else of a start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from gateway.config.admin_spec import AdminSpec
from gateway.config.snapshot import Every, OnHangup, Priority, RedisDown, Strategy, Unsupported
from gateway.config.values import (
    STRICT,
    Address,
    Attempts,
    Count,
    Credential,
    Database,
    Digest,
    Dollars,
    Duration,
    Failures,
    Flag,
    HeaderName,
    Moment,
    Money,
    Name,
    Pattern,
    Port,
    Proxy,
    Rate,
    Redis,
    Region,
    Retention,
    Share,
    Size,
    SmallShare,
    Text,
    Wait,
    Weight,
    Word,
)
from gateway.core.call import Need

DISCOVER = "discover"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Where the gateway listens."""

    __pydantic_config__ = STRICT

    host: Text = "127.0.0.1"
    """The address to listen on. Another than this machine's own is refused unless keys are configured."""
    port: Port = 4000
    """The port to listen on; 0 lets the system choose."""
    max_body: Size = 20 * 2**20
    """The largest request body: 20MiB."""
    drain: Duration = 120.0
    """How long running calls may take to end when the server is asked to stop: 120s."""
    max_connections: Count = 10_000
    """How many clients may be connected at a time, to each worker; fewer where the limit of open files has no room."""
    metrics_key: Credential | None = None
    """When set, /metrics wants it as a bearer token."""
    litellm_metrics: Flag = False
    """Whether /metrics has the series under LiteLLM's names too, for dashboards that were made for those."""


@dataclass(frozen=True, slots=True)
class StateSpec:
    """What several replicas of the gateway share, and what outlives them."""

    __pydantic_config__ = STRICT

    redis: Redis | None = None
    """A Redis or Valkey: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path; empty: all in process."""
    redis_down: RedisDown = "share"
    """While Redis is away each replica enforces its share of all limits and budgets, or calls are refused: closed."""
    database: Database | None = None
    """Usage and virtual keys: sqlite:///gateway.db, or postgresql://user:password@host/name for several replicas."""
    retention: Retention = 90 * 86400.0
    """How long the record of each call is kept: 90d. The sums by the hour stay."""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """An account at a vendor, or a server of your own."""

    __pydantic_config__ = STRICT

    type: Text
    """The kind of server: openai, anthropic, bedrock, azure, gemini, cohere, openai_compatible, ollama, groq, ..."""
    api_key: Credential | None = None
    """The credential, best given as "${VARIABLE}" or file:/path."""
    base_url: Address | None = None
    """The prefix of the API, such as https://host/v1, where it is not the type's own."""
    api_version: Name | None = None
    """The version of the API, where the type wants one (azure)."""
    region: Region | None = None
    """The region of AWS (bedrock): us-east-1."""
    access_key_id: Credential | None = None
    """With `secret_access_key`, what requests to AWS are signed with. Without either, AWS's default chain has it."""
    secret_access_key: Credential | None = None
    """The secret that belongs to `access_key_id`."""
    session_token: Credential | None = None
    """What comes with temporary credentials of AWS besides the two."""
    profile: Text | None = None
    """The profile of the AWS configuration files to take credentials from."""
    endpoint_url: Address | None = None
    """Where Bedrock is reached, if not at the region's own address: a VPC endpoint, a proxy."""
    organization: Credential | None = None
    """Sent as `openai-organization`."""
    project: Credential | None = None
    """Sent as `openai-project`."""
    headers: dict[HeaderName, Credential] = field(default_factory=dict)
    """Headers for every request to this provider."""
    send_user_id: Flag = False
    """Whether the `user` field of requests is passed on."""
    enabled: Flag = True
    """Whether calls may go here. A disabled provider is kept and checked, and never used."""
    proxy: Proxy | None = None
    """An HTTP proxy on the way: http://user:password@host:port."""
    ca_file: Text | None = None
    """A PEM file of certificate authorities to trust instead of the system's."""
    models: list[Pattern] | Literal["discover"] = field(default_factory=list)
    """Models that are published under their own names, without an entry in `models`; `discover`: those it lists."""

    @property
    def model_names(self) -> list[str]:
        """Those that are written."""
        return [] if self.models == DISCOVER else list(self.models)

    @property
    def discovers(self) -> bool:
        """Whether the provider is to be asked which there are."""
        return self.models == DISCOVER


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """US dollars per million tokens. 0 is for what is free."""

    __pydantic_config__ = STRICT

    input: Dollars
    """Tokens of the request: 0.15."""
    output: Dollars
    """Tokens of the answer: 0.60."""
    cache_read: Dollars | None = None
    """Those of the request that were read from a cache, where they are not as dear as the others: 0.075."""
    cache_write: Dollars | None = None
    """Those that were written to a cache, where they are not as dear as the others: 0.1875."""


@dataclass(frozen=True, slots=True)
class LimitsSpec:
    """How much a key may ask for, or how much may go to one target. What is not written is not limited."""

    __pydantic_config__ = STRICT

    requests_per_minute: Rate | None = None
    """Calls: 600."""
    tokens_per_minute: Rate | None = None
    """Tokens of requests and answers together: 1M."""
    concurrent_requests: Count | None = None
    """Calls that may be under way at once: 50."""


@dataclass(frozen=True, slots=True)
class BudgetSpec:
    """How much a key may use in each window of the calendar, in UTC: US dollars, tokens, or both."""

    __pydantic_config__ = STRICT

    every: Every
    """The window at whose beginning the budget is full again. Weeks begin on Monday."""
    usd: Money | None = None
    """US dollars: 50, 0.25."""
    tokens: Count | None = None
    """Tokens of requests and answers together: 10M."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One model at one provider."""

    __pydantic_config__ = STRICT

    provider: Text
    """A name from `providers`."""
    model: Pattern
    """The provider's own name for the model. A `*` is what the `*` in the public name stood for."""
    weight: Weight = 1.0
    """Its share of the calls, relative to the other targets."""
    price: PriceSpec | None = None
    """What it costs, where that is not as at the model, or else in the packaged table."""
    context: Count | None = None
    """Tokens that the model takes in one request, where that is not as in the packaged table: 128k."""
    lacks: list[Need] | None = None
    """What the model cannot do, where that is not as in the packaged table; calls that need it go elsewhere."""
    limits: LimitsSpec = LimitsSpec()
    """How much may go there."""


@dataclass(frozen=True, slots=True)
class TimeoutsSpec:
    """Four limits kept apart. What is not written comes from the defaults."""

    __pydantic_config__ = STRICT

    connect: Wait | None = None
    """Opening a connection: 5s."""
    first_token: Wait | None = None
    """From sending a streamed request to its first output: 60s."""
    idle: Wait | None = None
    """The longest silence within a stream: 120s."""
    total: Wait | None = None
    """The whole call, over all attempts: 600s."""


@dataclass(frozen=True, slots=True)
class RetriesSpec:
    """How often a call is tried. What is not written comes from the defaults."""

    __pydantic_config__ = STRICT

    attempts: Attempts | None = None
    """Upstream attempts for one call at most, over all targets and fallbacks: 3."""
    budget: Share | None = None
    """Of the requests to a provider, the share that may be second tries at the same target: 20%."""


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """When a target is ill, and how long it is left alone. What is not written comes from the defaults."""

    __pydantic_config__ = STRICT

    failures: Failures | None = None
    """Failures in a row after which a target is left alone: 5. Half of at least ten within the window do the same."""
    window: Wait | None = None
    """How far back failures are counted: 30s."""
    ejection: Wait | None = None
    """How long a target is left alone the first time: 30s. Each further time in a row it is that much longer."""
    max_ejection: Wait | None = None
    """How long a target is left alone at most: 300s."""


Json = Annotated[Any, "json"]
"""Any JSON value, written in YAML 1.2's core schema."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A public name and where calls to it go."""

    __pydantic_config__ = STRICT

    targets: list[TargetSpec]
    """Where calls may go."""
    strategy: Strategy = "weighted"
    """How a target is chosen: by chance and weight, in order, or by calls under way, time to first token, or price."""
    sticky: Flag = False
    """Whether a conversation stays with one target, whose prompt cache then knows it. Only with weighted."""
    hedge: SmallShare = 0.0
    """Of the streams, the share that may be asked for a second time elsewhere when the first is slow to begin: 5%."""
    fallbacks: list[Name] = field(default_factory=list)
    """Other public names, tried in order when every target has failed."""
    context_fallbacks: list[Name] = field(default_factory=list)
    """Other public names, tried in order when a prompt is too long for the targets."""
    content_fallbacks: list[Name] = field(default_factory=list)
    """Other public names, tried in order when a provider's content filter has refused the call."""
    timeouts: TimeoutsSpec = TimeoutsSpec()
    """Limits of time for this model."""
    retries: RetriesSpec = RetriesSpec()
    """Retries for this model."""
    breaker: BreakerSpec = BreakerSpec()
    """When a target of this model is ill."""
    defaults: dict[Text, Json] = field(default_factory=dict)
    """Fields of the request that are filled in where the client sent nothing."""
    on_hangup: OnHangup | None = None
    """What happens upstream when a client hangs up, where it is not as in the defaults."""
    unsupported: Unsupported | None = None
    """What happens to request fields that a provider cannot express, where it is not as in the defaults."""
    price: PriceSpec | None = None
    """What each target without a price of its own costs, where that is not as in the packaged table."""


@dataclass(frozen=True, slots=True)
class DefaultsSpec:
    """For every model; a model's own value wins."""

    __pydantic_config__ = STRICT

    timeouts: TimeoutsSpec = TimeoutsSpec()
    """Limits of time."""
    retries: RetriesSpec = RetriesSpec()
    """Retries."""
    breaker: BreakerSpec = BreakerSpec()
    """When a target is ill."""
    on_hangup: OnHangup = "cancel"
    """What happens upstream when a client hangs up: the call is cancelled, or read to its end to learn its usage."""
    unsupported: Unsupported = "drop"
    """Request fields that a provider cannot express are dropped, and a header says so; or they are an error."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Who may call."""

    __pydantic_config__ = STRICT

    name: Name
    """How the key is called in logs and metrics."""
    key: Credential | None = None
    """The key itself, best given as "${VARIABLE}" or file:/path. Either this or `sha256`."""
    sha256: Digest | None = None
    """The SHA-256 of the key, in hexadecimal."""
    models: list[Pattern] = field(default_factory=list)
    """Public names, or patterns of them, that the key may use; empty: all."""
    expires: Moment | None = None
    """The date (its first moment in UTC) or the time from which the key is refused."""
    priority: Priority = "normal"
    """Calls of a low priority are the first to be refused when there is more to do than can be done."""
    limits: LimitsSpec = LimitsSpec()
    """How much may be asked for with it at a time."""
    budget: BudgetSpec | None = None
    """How much may be used with it in a day, or in another window."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The configuration of the gateway."""

    __pydantic_config__ = STRICT

    server: ServerSpec = ServerSpec()
    """Where the gateway listens."""
    state: StateSpec = StateSpec()
    """What several replicas of the gateway share."""
    admin: AdminSpec = field(default_factory=AdminSpec)
    """Who may manage the gateway over HTTP."""
    providers: dict[Word, ProviderSpec] = field(default_factory=dict)
    """Accounts at vendors, by a name of your own."""
    models: dict[Pattern, ModelSpec] = field(default_factory=dict)
    """What clients may ask for, by public name. One `*` in a name stands for any text."""
    aliases: dict[Name, Name] = field(default_factory=dict)
    """Other names for models."""
    default_model: Name | None = None
    """The model for requests that name none, or name "default"."""
    defaults: DefaultsSpec = DefaultsSpec()
    """For every model; a model's own value wins."""
    keys: list[KeySpec] = field(default_factory=list)
    """Who may call. Without any, everyone on this machine may, and nobody else."""
