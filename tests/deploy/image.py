"""The image, made without Docker: the Dockerfile's own steps, each in a root file system of its own making.

Its base, a Debian with Python, is this machine: `/usr` is shown within the image, and at `/usr/local` the Python that
runs the tests, all read-only. It is done with mount namespaces and `chroot`, which only root may use. Nothing comes
from the network: what the gateway depends on is that of the tests, which `constraints.txt` has chosen for both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sysconfig import get_path

import orjson
import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = Path(get_path("purelib"))
BUILDERS = ("setuptools*", "_distutils_hack")
LINKS = [path for path in (Path("/bin"), Path("/sbin"), Path("/lib"), Path("/lib64")) if path.is_symlink()]

OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of `build_isolation`
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}

MOUNTS = """
root=$1 python=$2 packages=$3 mode=$4
mount --bind "$root" "$root"
mount --rbind /usr "$root/usr"; mount -o remount,bind,ro "$root/usr"
mount --bind "$python" "$root/usr/local"; mount -o remount,bind,ro "$root/usr/local"
mount --bind "$packages" "$root/mnt"; mount -o remount,bind,ro "$root/mnt"
mount --rbind /dev "$root/dev"; mount --rbind /proc "$root/proc"
if [ "$mode" = ro ]; then
    mount --bind "$root/data" "$root/data"
    mount -o remount,bind,ro "$root"
fi
shift 4
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of a Dockerfile: `RUN`, and the rest of its line."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest, as a list: written as JSON, or as words."""
        listed: list[str] = orjson.loads(self.rest) if self.rest.startswith("[") else self.rest.split()
        return listed


def steps(dockerfile: str) -> Iterator[Step]:
    """Continued lines are one; comments are left out, also those between them."""
    code = "\n".join(line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    for line in code.replace("\\\n", "").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield Step(word.upper(), rest.strip())


@dataclass
class Image:
    """What a Dockerfile comes to, in a folder of the test's own."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    stage: str = ""

    @property
    def root(self) -> Path:
        """Where its files are, and those of each stage as long as it is built: installed programs know their place."""
        return self.folder / "root"

    def build(self, dockerfile: str) -> Image:
        """Takes each step. Fails the test where one fails, or is of a kind that is not known here."""
        builders = self.folder / "builders"
        for package in (path for pattern in BUILDERS for path in PACKAGES.glob(pattern)):
            shutil.copytree(package, builders / package.name)
        for step in steps(dockerfile):
            getattr(self, f"_{step.word.lower()}")(step)
        return self

    def within(self, *command: str, user: str, environ: Mapping[str, str], building: bool = False) -> list[str]:
        """The command line that runs a command within the image; writing only to /data, but while it is built."""
        uid, gid = user.split(":")
        libraries = self.folder / "builders" if building else PACKAGES
        # Python looks for its library where it was built for, which is not where it stands here.
        search = {"PYTHONPATH": "/mnt", "LD_LIBRARY_PATH": "/usr/local/lib", "HOME": "/"}
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin"} | self.environ | search | dict(environ)
        return [
            *("unshare", "--mount", "--propagation", "private", "sh", "-euc", MOUNTS, "sh"),
            *(str(self.root), sys.base_prefix, str(libraries), "rw" if building else "ro"),
            *("chroot", f"--userspec=+{uid}:+{gid}", "--groups=", str(self.root)),
            *("env", "-i", f"--chdir={self.workdir}", *(f"{name}={value}" for name, value in variables.items())),
            *command,
        ]

    def _from(self, step: Step) -> None:
        if self.root.exists():
            self.root.rename(self.folder / self.stage)
        self.stage = step.words[-1]
        self.environ, self.workdir, self.user = {}, "/", "0:0"
        for empty in ("usr", "mnt", "dev", "proc", "tmp"):
            (self.root / empty).mkdir(parents=True)
        for link in LINKS:
            (self.root / link.name).symlink_to(link.readlink())

    def _copy(self, step: Step) -> None:
        words = step.words
        origin = ROOT
        if words[0].startswith("--from="):
            origin = self.folder / words.pop(0).removeprefix("--from=")
        *sources, place = words
        target = self._path(place)
        for source in sources:
            found = origin / source.lstrip("/")
            if found.is_dir():
                shutil.copytree(found, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, target)

    def _run(self, step: Step) -> None:
        command = self.within("sh", "-c", step.rest, user=self.user, environ=OFFLINE, building=True)
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _workdir(self, step: Step) -> None:
        self.workdir = step.rest
        self._path(step.rest).mkdir(parents=True, exist_ok=True)

    def _env(self, step: Step) -> None:
        self.environ |= dict(word.split("=", 1) for word in step.words)

    def _user(self, step: Step) -> None:
        self.user = step.rest

    def _entrypoint(self, step: Step) -> None:
        self.entrypoint = step.words

    def _cmd(self, step: Step) -> None:
        self.command = step.words

    def _healthcheck(self, step: Step) -> None:
        self.healthcheck = orjson.loads(step.rest[step.rest.index("[") :])

    def _stopsignal(self, step: Step) -> None:
        self.stop_signal = step.rest

    def _volume(self, step: Step) -> None:
        assert step.words == ["/data"]  # the one that `within` leaves writable

    def _expose(self, step: Step) -> None:
        """Only tells people."""

    def _path(self, place: str) -> Path:
        return self.root / str(Path(self.workdir, place)).lstrip("/")


def possible() -> str:
    """Why an image cannot be made here; nothing if it can."""
    if os.geteuid() != 0:
        return "only root can make it"
    if not (Path(sys.base_prefix) / "bin" / "python").exists() or len(LINKS) < 2:
        return "this machine is not laid out like the image"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return "mounts of its own are not allowed here" if tried.returncode else ""


def built(folder: Path) -> Image:
    """The image of this repository. Skips the test where it cannot be made."""
    if why := possible():
        pytest.skip(f"the image is not made here: {why}")
    return Image(folder).build((ROOT / "Dockerfile").read_text())


def ignored() -> list[str]:
    """The folders and files that the Dockerfile copies though `.dockerignore` keeps them from it."""
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copies = [step.words for step in steps((ROOT / "Dockerfile").read_text()) if step.word == "COPY"]
    wanted = [source for words in copies if not words[0].startswith("--from=") for source in words[:-1]]
    return [source for source in wanted if source not in kept]
