"""A configuration out of the environment, for a start without a file.

Every vendor whose key is set becomes a provider of the same name, which publishes `<provider>/*` and the well-known
names of its models. What is set and cannot be used is told, and stops nothing. The configuration is written as text and
read like any other, so it is also what a file that does the same looks like; it names variables and holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.config.complaints import ConfigError
from gateway.config.resolve import Loaded, loads, loads_all
from gateway.config.vendor_table import VENDORS
from gateway.vendors.vendor import Vendor

NAME = "environment"
"""What stands for the file's name in complaints."""

ALSO: Mapping[str, Mapping[str, str]] = {
    "azure": {"base_url": "${AZURE_OPENAI_ENDPOINT}", "api_version": "${OPENAI_API_VERSION:-2024-10-21}"},
}
"""What a vendor needs besides its key, from the variables that its own SDK reads."""

AWS_FILE = "~/.aws/credentials"
AWS_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

NO_KEYS: Mapping[str, Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": {
        "access_key_id": "${AWS_ACCESS_KEY_ID}",
        "secret_access_key": "${AWS_SECRET_ACCESS_KEY}",
        "session_token": "${AWS_SESSION_TOKEN:-}",
    },
    "AWS_PROFILE": {},
    "AWS_WEB_IDENTITY_TOKEN_FILE": {},
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": {},
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": {},
    AWS_FILE: {},
}
"""What is written for a source that is not an `api_key`. Nothing: AWS's default chain reads it."""

OLLAMA = "ollama"
"""The vendor that is found by asking this machine."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found."""

    provider: str
    source: str | None = None
    """The variable, or the file, that its credentials are in. None: it needs none."""
    models: tuple[str, ...] = ()
    """The public names, or patterns of them, that lead to it."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Its entry in `providers`, as it is written."""
    note: str | None = None
    """Why it is not used, though its source is there."""

    def __str__(self) -> str:
        if self.note:
            return f"{self.provider}: {self.note}"
        source = f" ({self.source})" if self.source else ""
        return f"{self.provider}{source}: {', '.join(self.models)}"


def from_environment(environ: Mapping[str, str], *, ollama: bool) -> tuple[Loaded, tuple[Found, ...]]:
    """What the gateway runs on without a file, and what it was made of.

    `ollama` says whether one answers on this machine.
    """
    found = tuple(_tried(candidate, environ) for candidate in _candidates(environ, ollama))
    return loads_all(as_text(found), name=NAME, environ=environ), found


def as_text(found: Iterable[Found]) -> str:
    """A configuration file for what was found."""
    used = [each for each in found if not each.note]
    return "\n".join(["providers:", *map(_provider_line, used), "models:", *map(_model_line, used), ""])


def _provider_line(found: Found) -> str:
    written = ", ".join(f'{name}: "{value}"' for name, value in found.fields.items())
    models = ", ".join(f'"{model}"' for model in found.models if model != _prefixed(found.provider))
    return f"  {found.provider}: {{{written}, models: [{models}]}}"


def _model_line(found: Found) -> str:
    return f'  "{_prefixed(found.provider)}": {{targets: [{{provider: {found.provider}, model: "*"}}]}}'


def _candidates(environ: Mapping[str, str], ollama: bool) -> Iterator[Found]:
    taken: set[str] = set()
    for vendor in VENDORS.values():
        source = _source(vendor, environ)
        if source or vendor.in_process or (ollama and vendor.name == OLLAMA):
            names = (_prefixed(vendor.name), *vendor.models)
            models = tuple(name for name in names if name not in taken)
            yield Found(vendor.name, source, models, _fields(vendor, source, environ))
            taken.update(names)


def _source(vendor: Vendor, environ: Mapping[str, str]) -> str | None:
    variable = next((name for name in vendor.env if environ.get(name)), None)
    # The file is there on many machines for other services of AWS; with a region beside it somebody means to call one.
    if not variable and vendor.signing_name and any(map(environ.get, AWS_REGIONS)) and _aws_file(environ).is_file():
        return AWS_FILE
    return variable


def _aws_file(environ: Mapping[str, str]) -> Path:
    """https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html."""
    return Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or f"{environ.get('HOME', '')}/.aws/credentials")


def _fields(vendor: Vendor, source: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {"type": vendor.name}
    if source:
        fields.update(NO_KEYS.get(source, {"api_key": f"${{{source}}}"}))
    if vendor.needs_region:
        region = next((name for name in AWS_REGIONS if environ.get(name)), AWS_REGIONS[0])
        fields["region"] = f"${{{region}}}"
    return {**fields, **ALSO.get(vendor.name, {})}


def _prefixed(provider: str) -> str:
    return f"{provider}/*"


def _tried(found: Found, environ: Mapping[str, str]) -> Found:
    """The same, or why it cannot be used."""
    try:
        loads(as_text([found]), name=NAME, environ=environ)
    except ConfigError as error:
        faults = "; ".join(complaint.message for complaint in error.complaints)
        return replace(found, note=f"{found.source} is set, but {faults}")
    return found
