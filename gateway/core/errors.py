"""
Every way a call can fail, and what the client is told.

GatewayError                status  type                    code
* InvalidRequest              400   invalid_request_error   the reason, with the field in `param`
  * Unsupported               400   invalid_request_error   the same: a provider cannot express what is asked
* Unauthorized                401   invalid_request_error   invalid_api_key
* UnknownModel                404   invalid_request_error   model_not_found
* NotServed              4xx, 5xx   invalid_request_error   the framework's own: no such path, method, media type
* Overloaded                  503   server_error            overloaded
* LimitExceeded               429   rate_limit_error        rate_limit_exceeded
                                    insufficient_quota      budget_exceeded
* UpstreamError                     what the provider did, as one `Failure`: RULES below has its row

The envelope is OpenAI's: `{"error": {"message", "type", "param", "code"}}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import TracebackType

from gateway.core.call import Json


class GatewayError(Exception):
    """A failure with a status and words for the client."""

    status = 500
    type = "server_error"
    code: str | None = "internal_error"
    retry_after: float | None = None
    """Seconds after which another try makes sense."""
    should_retry: bool | None = None
    """Told to SDKs as `x-should-retry`; None leaves it to them."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def envelope(self) -> Json:
        """The body that every client of OpenAI's API understands."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = None


class Unsupported(InvalidRequest):
    """The request is well, and its provider has no way to express a part of it that must not be lost."""


class Unauthorized(GatewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class UnknownModel(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "model_not_found"


class NotServed(GatewayError):
    """HTTP that this server does not serve: no such path, method, media type, host, or too many bytes."""

    type = "invalid_request_error"
    code = None

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status


class Overloaded(GatewayError):
    status = 503
    type = "server_error"
    code = "overloaded"


class LimitExceeded(GatewayError):
    """A key's own limit or budget leaves no room for the call. `what` names it as the configuration does."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, what: str, wait: float) -> None:
        super().__init__(message)
        self.what = what
        if what.endswith("budget"):
            self.type, self.code = "insufficient_quota", "budget_exceeded"
        if wait == inf:
            self.should_retry = False
        else:
            self.retry_after = wait


class Failure(StrEnum):
    """What an upstream did wrong, or cannot do; `spent` is what it may not do, by its limits in the configuration.

    The names are label values of the metrics and words of the log.
    """

    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105
    IDLE_TIMEOUT = "idle_timeout"
    DEADLINE = "deadline"
    RATE_LIMITED = "rate_limited"
    BILLING = "billing"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CREDENTIALS = "credentials"
    MODEL_MISSING = "model_missing"
    UNSUPPORTED = "unsupported"
    SPENT = "spent"
    REJECTED = "rejected"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from a failure before the commit point, and what the client hears when all targets are spent."""

    status: int
    """0: the provider's own status is passed on."""
    code: str | None
    type: str = "upstream_error"
    again: int = 0
    """How often the same target may be tried again."""
    elsewhere: bool = True
    """Whether another target may be tried."""
    own_words: bool = False
    """Whether the provider's message is for the client; otherwise it may speak of an account that is not theirs."""
    ill: float = 0.0
    """How much it counts against the target's health."""
    cool: float = 0.0
    """Seconds for which the target is left alone, where the provider does not say how long. Zero: not at all, unless
    the provider asks for it."""


LONG_COOLDOWN = 300.0
"""Seconds. What needs a person to mend it is not mended in less; and no provider is left alone for longer."""

RULES: dict[Failure, Rule] = {
    Failure.UNREACHABLE: Rule(502, "upstream_unreachable", again=1, ill=1),
    Failure.CONNECT_TIMEOUT: Rule(504, "upstream_timeout", ill=1),
    Failure.FIRST_TOKEN_TIMEOUT: Rule(504, "upstream_timeout", ill=1),
    Failure.IDLE_TIMEOUT: Rule(504, "upstream_timeout", ill=1),
    Failure.DEADLINE: Rule(504, "upstream_timeout", elsewhere=False, ill=1),
    Failure.RATE_LIMITED: Rule(429, "rate_limit_exceeded", type="rate_limit_error", cool=5),
    Failure.BILLING: Rule(503, "upstream_error", cool=LONG_COOLDOWN),
    Failure.OVERLOADED: Rule(503, "upstream_error", again=1, ill=0.5),
    Failure.SERVER_ERROR: Rule(502, "upstream_error", again=1, ill=1),
    Failure.CREDENTIALS: Rule(502, "upstream_auth_error", cool=LONG_COOLDOWN),
    Failure.MODEL_MISSING: Rule(404, "model_not_found", type="invalid_request_error", cool=LONG_COOLDOWN),
    Failure.UNSUPPORTED: Rule(400, None, type="invalid_request_error", own_words=True),
    Failure.SPENT: Rule(429, "rate_limit_exceeded", type="rate_limit_error", own_words=True),
    Failure.REJECTED: Rule(0, None, type="invalid_request_error", elsewhere=False, own_words=True),
    Failure.CONTEXT_TOO_LONG: Rule(
        400, "context_length_exceeded", type="invalid_request_error", elsewhere=False, own_words=True
    ),
    Failure.CONTENT_FILTERED: Rule(
        400, "content_filter", type="invalid_request_error", elsewhere=False, own_words=True
    ),
    Failure.MALFORMED: Rule(502, "upstream_error", again=1, ill=1),
    Failure.TRUNCATED: Rule(502, "upstream_stream_truncated", again=1, ill=1),
}


class UpstreamError(GatewayError):
    """A provider failed, refused or made no sense.

    `message`, `status` and `code` are the provider's own where its row passes them on, else ours. `said` is what is
    known of the failure: the provider's words, or, without a `status`, our own about the connection. `remedy` is what
    can be done about it, in our own words: they are for everyone.
    """

    def __init__(
        self,
        failure: Failure,
        said: str,
        *,
        status: int = 0,
        param: str | None = None,
        code: str | None = None,
        type: str | None = None,
        retry_after: float | None = None,
        remedy: str = "",
    ) -> None:
        rule = RULES[failure]
        words = said if rule.own_words else WORDS[failure]
        super().__init__(f"{words.rstrip('.')}. {remedy}" if remedy else words, param=param if rule.own_words else None)
        self.failure = failure
        self.said = said
        self.remedy = remedy
        self.upstream_status = status
        self.upstream_code = code
        self.status = rule.status or status or 400
        self.type = (type if rule.own_words and type else None) or rule.type
        self.code = (code if rule.own_words and code else None) or rule.code
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.said

    @property
    def noted(self) -> str:
        """What the log may hold: our own words, of the provider's only its status and code. It may quote a prompt."""
        if not self.upstream_status:
            return self.said
        code = self.upstream_code if self.upstream_code and _WORD.fullmatch(self.upstream_code) else ""
        return " ".join(part for part in (f"status {self.upstream_status}", code, self.remedy) if part)

    def conceal(self, secrets: tuple[str, ...]) -> None:
        """Takes the gateway's own credentials out of what the provider said: some quote the key they refuse."""
        for name in ("message", "said", "param", "type", "code", "upstream_code"):
            told = getattr(self, name)
            for secret in secrets:
                told = told and told.replace(secret, "***")
            setattr(self, name, told)


_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


WORDS: dict[Failure, str] = {
    Failure.UNREACHABLE: "The provider could not be reached.",
    Failure.CONNECT_TIMEOUT: "The provider did not accept a connection in time.",
    Failure.FIRST_TOKEN_TIMEOUT: "The provider did not begin to answer in time.",
    Failure.IDLE_TIMEOUT: "The provider stopped in the middle of its answer.",
    Failure.DEADLINE: "The call took longer than its time limit.",
    Failure.RATE_LIMITED: "The provider is limiting requests for this model; try again later.",
    Failure.BILLING: "The provider is not available for this model.",
    Failure.OVERLOADED: "The provider is overloaded; try again later.",
    Failure.SERVER_ERROR: "The provider failed to answer.",
    Failure.CREDENTIALS: "The gateway's credentials were refused by the provider; tell the gateway's administrator.",
    Failure.MODEL_MISSING: "The provider does not have this model.",
    Failure.MALFORMED: "The provider's answer made no sense.",
    Failure.TRUNCATED: "The provider's answer ended before it was complete.",
}


class malformed:  # noqa: N801  used as a statement: `with malformed("a chunk"):`
    """Wrap the reading of what an upstream sent: a shape that was not promised is its failure, not our crash.

    A class, because `contextlib.contextmanager` costs a microsecond and this stands on the path of every answer.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ValueError | LookupError | TypeError | AttributeError):
            raise UpstreamError(Failure.MALFORMED, f"{self._what}: {type(error).__name__}") from error
