from __future__ import annotations

import pytest

from gateway.core.errors import RULES, WORDS, Failure, NotServed, UpstreamError, malformed


@pytest.mark.parametrize("failure", list(Failure))
def test_every_failure_has_words_for_the_client(failure: Failure) -> None:
    error = UpstreamError(failure, "what the provider said", status=418)
    told = error.envelope()["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert told["message"] == ("what the provider said" if RULES[failure].own_words else WORDS[failure])


@pytest.mark.parametrize("failure", list(Failure))
def test_a_providers_own_401_and_403_never_reach_the_client(failure: Failure) -> None:
    for status in (401, 403):
        told = UpstreamError(failure, "no", status=status).status
        assert told not in (401, 403) or failure is Failure.REJECTED


def test_a_rejection_keeps_the_providers_status_code_and_parameter() -> None:
    error = UpstreamError(Failure.REJECTED, "bad", status=422, param="messages", code="odd", type="weird")
    assert error.status == 422
    assert error.envelope()["error"] == {"message": "bad", "type": "weird", "param": "messages", "code": "odd"}


def test_what_a_provider_says_of_its_account_stays_here() -> None:
    error = UpstreamError(Failure.BILLING, "org-1 has no money left", status=429, code="insufficient_quota", param="x")
    assert error.envelope()["error"] == {
        "message": WORDS[Failure.BILLING],
        "type": "upstream_error",
        "param": None,
        "code": "upstream_error",
    }
    assert error.said == "org-1 has no money left"


def test_a_refusal_of_the_server_has_a_status_of_its_own() -> None:
    assert NotServed(413, "too large").status == 413


@pytest.mark.parametrize("error", [ValueError, KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError])
def test_a_shape_that_was_not_promised_is_the_upstreams_failure(error: type[Exception]) -> None:
    arguments = ("utf-8", b"", 0, 1, "x") if error is UnicodeDecodeError else ()
    with pytest.raises(UpstreamError) as raised, malformed("chunk"):
        raise error(*arguments)
    assert raised.value.failure is Failure.MALFORMED


def test_our_own_defects_are_not_blamed_on_the_upstream() -> None:
    with pytest.raises(ZeroDivisionError), malformed("chunk"):
        raise ZeroDivisionError


def test_the_log_gets_our_own_words_about_a_connection() -> None:
    assert UpstreamError(Failure.UNREACHABLE, "example.com:443: refused").noted == "example.com:443: refused"


@pytest.mark.parametrize("code", [None, "", "you said: my secret plans", "x" * 65])
def test_the_log_gets_nothing_of_a_provider_that_could_be_a_prompt(code: str | None) -> None:
    assert UpstreamError(Failure.SERVER_ERROR, "you said: my secret plans", status=500, code=code).noted == "status 500"


def test_a_credential_that_a_provider_quotes_is_concealed_from_everyone_wherever_it_stands() -> None:
    error = UpstreamError(Failure.REJECTED, "bad key sk-canary", status=400, type="t-sk-canary", code="c-sk-canary")
    error.conceal(("sk-canary",))
    assert error.envelope()["error"] == {"message": "bad key ***", "type": "t-***", "code": "c-***", "param": None}
    assert "sk-canary" not in error.said + error.noted
