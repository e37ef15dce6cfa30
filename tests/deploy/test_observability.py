"""Alerts, dashboards and the page about them speak of metrics that exist, and of each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from gateway.sinks.metrics import Metrics
from tests.deploy.tools import DEPLOY, ROOT, missing, program, run
from tests.test_metrics import PROMISED

RULES = DEPLOY / "prometheus" / "rules.yaml"
RULE_TESTS = DEPLOY / "prometheus" / "rules.test.yaml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

LABELS = PROMISED
ADDED = frozenset({"job", "instance", "le", "alertname", "alertstate"})
"""Labels that come from Prometheus."""

Json = dict[str, Any]


def rules() -> list[Json]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def exposed() -> set[str]:
    """The names under which Prometheus finds what the gateway counts, but for a histogram's suffixes."""
    text = Metrics().exposition().decode()
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def panels() -> Iterator[tuple[str, Json]]:
    for file in DASHBOARDS:
        for panel in orjson.loads(file.read_bytes())["panels"]:
            yield f"{file.stem}: {panel['title']}", panel


def expressions() -> dict[str, str]:
    """Every question to Prometheus, by where it stands."""
    asked = {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}
    for name, panel in panels():
        asked |= {f"{name} {target['refId']}": target["expr"] for target in panel["targets"]}
    return asked


@pytest.mark.parametrize(("where", "expression"), expressions().items(), ids=list(expressions()))
def test_a_question_to_prometheus_names_only_what_there_is(where: str, expression: str) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    names = set(re.findall(r"\b(?:gateway|process)[_:][\w:]+", expression))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert families
    assert families <= exposed() | recorded
    known = {label for family in families for label in LABELS.get(family.removesuffix("_total"), ())} | ADDED
    matched = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', expression)
    grouped = re.split(r",\s*", ", ".join(re.findall(r"by \(([^)]+)\)", expression)))
    assert {*matched, *filter(None, grouped)} <= known


@pytest.mark.parametrize(("where", "expression"), expressions().items(), ids=list(expressions()))
def test_a_question_to_prometheus_can_be_read(where: str, expression: str) -> None:
    try:
        import promql_parser
    except ImportError:
        missing("promql-parser")
    asked = expression.replace("$__rate_interval", "5m").replace("$__range", "1h")
    promql_parser.parse(asked)


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    run(program("promtool"), "check", "rules", RULES)
    run(program("promtool"), "check", "config", "--syntax-only", RULES.with_name("prometheus.yaml"))


def test_alerts_fire_and_stay_quiet_as_their_tests_have_it() -> None:
    run(program("promtool"), "test", "rules", RULE_TESTS)


def test_each_alert_is_tested_both_ways() -> None:
    fires: dict[bool, str] = {True: "", False: ""}
    for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for asked in test["promql_expr_test"]:
            fires[bool(asked["exp_samples"])] += asked["expr"]
    assert {alert for alert in ALERTS if f'"{alert}"' not in fires[True]} == set()
    quiet = set(re.findall(r'alertname=~?"([^"]+)"', fires[False]))
    assert {alert for alert in ALERTS if not any(re.fullmatch(pattern, alert) for pattern in quiet)} == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{alert.lower()}"


def test_each_alert_has_its_section() -> None:
    assert re.findall(r"^### (Gateway\w+)$", OPERATIONS, re.MULTILINE) == list(ALERTS)


def test_each_metric_has_its_row() -> None:
    rows = set(re.findall(r"^\| `(gateway_\w+)` \|", OPERATIONS, re.MULTILINE))
    assert rows == {name for name in exposed() if name.startswith("gateway_")}


@pytest.mark.parametrize("document", ["operations.md", "deployment.md"])
def test_what_the_documents_point_to_is_there(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = ROOT / "docs" / file if file else ROOT / "docs" / document
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), anchor


def anchors(document: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", DASHBOARDS, ids=[file.stem for file in DASHBOARDS])
def test_a_dashboard_has_a_place_for_each_panel(file: Path) -> None:
    dashboard = orjson.loads(file.read_bytes())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("file", DASHBOARDS, ids=[file.stem for file in DASHBOARDS])
def test_a_dashboard_works_with_any_data_source_and_only_names_its_own_variables(file: Path) -> None:
    dashboard = orjson.loads(file.read_bytes())
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(rb"\$\{?([a-z]\w*)", file.read_bytes()))
    assert {name.decode() for name in used} == variables
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in dashboard["panels"])


def test_every_metric_can_be_seen_on_a_dashboard() -> None:
    shown = " ".join(target["expr"] for _, panel in panels() for target in panel["targets"])
    assert {name for name in exposed() if name.startswith("gateway_") and name not in shown} == set()
