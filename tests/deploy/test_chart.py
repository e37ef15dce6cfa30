"""What the Helm chart makes of its values, as Kubernetes sees it."""

from __future__ import annotations

import re
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot
from tests.deploy.tools import DEPLOY, ROOT, kubernetes_schemas, program, run

CHART = DEPLOY / "helm" / "gateway"
VALUES = ["values.yaml", "ci/single-values.yaml", "ci/production-values.yaml"]
OPERATORS = "monitoring.coreos.com"
"""Kinds of the Prometheus operator, which Kubernetes' own schemas do not have."""
ENVIRON = dict.fromkeys(("OPENAI_API_KEY", "GATEWAY_KEY", "WEB_APP_KEY", "METRICS_KEY"), "a-long-enough-secret-1")
ENVIRON |= {"DATABASE_URL": "postgresql://gateway@postgres/gateway", "REDIS_URL": "redis://valkey:6379/0"}

Manifest = dict[str, Any]


@cache
def manifests(values: str, *more: str) -> list[Manifest]:
    rendered = run(program("helm"), "template", "my", CHART, "--values", CHART / values, *more)
    return [manifest for manifest in yaml.safe_load_all(rendered) if manifest]


def one(kind: str, values: str = "ci/production-values.yaml") -> Manifest:
    (found,) = [each for each in manifests(values) if (each["kind"], each["metadata"]["name"]) == (kind, "my-gateway")]
    return found


def container(values: str = "ci/production-values.yaml") -> Manifest:
    found: Manifest = one("Deployment", values)["spec"]["template"]["spec"]["containers"][0]
    return found


def configured(values: str) -> Snapshot:
    return loads(one("ConfigMap", values)["data"]["gateway.yaml"], name="gateway.yaml", environ=ENVIRON)


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_no_fault(values: str) -> None:
    run(program("helm"), "lint", "--strict", CHART, "--values", CHART / values)


@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_takes_each_manifest(values: str) -> None:
    with zipfile.ZipFile(kubernetes_schemas()) as package:
        folder = max(re.findall(r"\S+/v[\d.]+-local-strict/", " ".join(package.namelist())), key=version)

        definitions = Resource.from_contents(orjson.loads(package.read(folder + "_definitions.json")), DRAFT7)
        registry: Registry[Any] = Registry().with_resource("/api/_definitions.json", definitions)
        for manifest in manifests(values):
            if OPERATORS not in manifest["apiVersion"]:
                schema = orjson.loads(package.read(folder + schema_of(manifest)))
                checker = Draft7Validator(schema, registry=registry)
                assert [error.message for error in checker.iter_errors(manifest)] == [], manifest["kind"]


def version(folder: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.rpartition("/v")[2])]


def schema_of(manifest: Manifest) -> str:
    group = manifest["apiVersion"].replace(".k8s.io", "").replace("/", "-")
    return f"{manifest['kind'].lower()}-{group}.json"


@pytest.mark.parametrize("values", VALUES)
def test_the_configuration_in_the_values_is_a_good_one(values: str) -> None:
    server = configured(values).server
    assert (server.host, server.port) == ("0.0.0.0", container(values)["ports"][0]["containerPort"])


@pytest.mark.parametrize("values", VALUES)
def test_a_pod_has_time_to_drain(values: str) -> None:
    pod = one("Deployment", values)["spec"]["template"]["spec"]
    before = container(values)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > before + configured(values).server.drain + 10


def test_a_changed_configuration_reaches_running_pods() -> None:
    (mount,) = [mount for mount in container()["volumeMounts"] if mount["name"] == "config"]
    assert "subPath" not in mount
    assert "checksum/config" not in str(one("Deployment"))


def test_a_pod_has_no_rights_that_it_does_not_need() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]


def test_probes_ask_what_the_gateway_answers() -> None:
    paths = {probe: container()[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/healthz/live", "readinessProbe": "/healthz/ready"}
    source = (ROOT / "gateway" / "web" / "app.py").read_text()
    assert all(f'"{path}"' in source for path in paths.values())


def test_the_rules_and_the_dashboards_are_those_of_the_repository() -> None:
    assert one("PrometheusRule")["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    (dashboards,) = [each for each in manifests(VALUES[2]) if each["metadata"]["name"].endswith("-dashboards")]
    written = {file.name: file.read_text() for file in (DEPLOY / "grafana").glob("*.json")}
    assert {name: text.strip() for name, text in dashboards["data"].items()} == {
        name: text.strip() for name, text in written.items()
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("replicaCount=3", "replicaCount"),
        ("service.port=http", "port"),
        ("autoscaling.enabled=maybe", "enabled"),
        ("persistence.size=lots", "size"),
        ("replicas=2,persistence.enabled=true", "one replica"),
    ],
)
def test_a_mistake_in_the_values_is_told(wrong: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        run(program("helm"), "template", "my", CHART, "--set", wrong)


def test_the_chart_is_of_this_version() -> None:
    from gateway import __version__

    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__


def test_the_charts_links_lead_somewhere() -> None:
    assert [path.name for path in Path(CHART / "files").iterdir() if not path.exists()] == []
