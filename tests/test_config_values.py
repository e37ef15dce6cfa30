"""How single values are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import values
from gateway.config.addresses import base_url, proxy_url, redis_url


@pytest.mark.parametrize(
    ("written", "meant"),
    [("300ms", 0.3), ("5s", 5.0), ("1.5s", 1.5), ("10m", 600.0), ("1h", 3600.0), ("7d", 604_800.0), ("5 s", 5.0)],
)
def test_a_duration_is_a_number_and_its_unit(written: str, meant: float) -> None:
    assert values.seconds(written) == pytest.approx(meant)


@pytest.mark.parametrize("written", ["5", "", "s", "5S", "-5s", "5sm", "1h30m", "inf s", "nan", "1_0s", "٣s", "5s\n"])
def test_what_is_not_a_duration_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        values.seconds(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("4096", 4096), ("1kB", 1000), ("512KiB", 524_288), ("20MiB", 20_971_520), ("1.5GiB", 1_610_612_736)],
)
def test_a_size_is_a_number_of_bytes(written: str, meant: int) -> None:
    assert values.size(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"), [("500", 500), ("1e3", 1000), ("100k", 100_000), ("1.5M", 1_500_000), ("10M", 10_000_000)]
)
def test_a_count_may_be_short(written: str, meant: int) -> None:
    assert values.count(written) == meant


@pytest.mark.parametrize("written", ["0", "-1", "1.5", "0.0001k", "1e99", "9" * 18 + "G", "ten", "0x10", "1_000"])
def test_what_is_not_a_count_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        values.count(written)


@pytest.mark.parametrize(
    ("written", "hint"),
    [("0x10", "write 16"), ("0o17", "write 15"), ("0b11", "write 3"), ("010", "write 10"), ("1_0", "write 10")],
)
def test_a_number_that_readers_of_yaml_dispute_is_refused_with_a_hint(written: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        values.whole(0, 100)(written)


@pytest.mark.parametrize("written", [".5", "2", "1e-3", "1.", "+3"])
def test_a_weight_is_any_number_above_nothing(written: str) -> None:
    assert values.weight(written) == float(written)


@pytest.mark.parametrize("written", ["0", "-1", "inf", ".inf", "nan", "1e999", ""])
def test_what_is_no_weight_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        values.weight(written)


@pytest.mark.parametrize(
    "written", ["2027-01-01", "2027-01-01T00:00:00", "2027-01-01T00:00:00Z", "2026-12-31T19:00:00-05:00"]
)
def test_a_time_without_a_zone_is_in_utc(written: str) -> None:
    assert values.moment(written) == 1_798_761_600.0


@pytest.mark.parametrize("name", ["gpt-4o", "org/model:7b@v1", "GPT 4", "*", "a*b"])
def test_a_public_name_is_anything_that_a_header_can_carry(name: str) -> None:
    assert values.pattern(name) == name


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "é", "a**", "x" * 257])
def test_what_no_header_or_label_can_carry_is_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        values.pattern(name)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://host/v1/", "https://host/v1"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_base_url_is_a_prefix_without_a_slash_at_its_end(written: str, kept: str) -> None:
    assert base_url(written) == kept


@pytest.mark.parametrize(
    "written",
    [
        "host/v1",
        "//host",
        "https://",
        "https:///v1",
        "http://a b",
        "http://[::1",
        "http://h:x",
        "http://h:0",
        "http://h?",
        "http://h#",
        "http://@h",
        "ws://h",
    ],
)
def test_what_no_path_can_be_joined_to_is_no_base_url(written: str) -> None:
    with pytest.raises(ValueError):
        base_url(written)


@pytest.mark.parametrize("written", ["http://host:3128", "http://user:pass@host:3128", "http://host/"])
def test_a_proxy_is_an_http_server(written: str) -> None:
    assert proxy_url(written).reveal() == written


READERS = [
    values.seconds,
    values.wait,
    values.size,
    values.count,
    values.whole(-5, 5),
    values.weight,
    values.share(50),
    values.dollars,
    values.flag,
    values.moment,
    values.text,
    values.name,
    values.word,
    values.pattern,
    values.exact,
    values.header_name,
    values.header_value,
    values.sha256,
    base_url,
    proxy_url,
    redis_url,
]


@given(st.sampled_from(READERS), st.text(max_size=40) | st.from_regex(r"[-+.0-9eE_xkMGsmhd:/@T]{0,24}", fullmatch=True))
def test_a_reader_understands_or_refuses_and_never_repeats(reader: values.Reader, written: str) -> None:
    try:
        reader(written)
    except ValueError as error:
        words = str(error)
    else:
        words = ""
    assert len(written) < 8 or written not in words
