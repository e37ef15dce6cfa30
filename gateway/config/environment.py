"""A configuration out of the environment, for a start without a file.

Every vendor whose key is set becomes a provider of the same name, which publishes `<provider>/*` and the well-known
names of its models. What is set and cannot be used is told, and stops nothing. The configuration is written as text and
read like any other, so it is also what a file that does the same looks like; it names variables and holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.config.complaints import ConfigError
from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot
from gateway.config.spec import PROVIDER_TYPES_NOT_YET
from gateway.config.vendor_table import VENDORS

NAME = "environment"
"""What stands for the file's name in complaints."""

ALSO: Mapping[str, Mapping[str, str]] = {
    "azure": {"base_url": "${AZURE_OPENAI_ENDPOINT}", "api_version": "${OPENAI_API_VERSION:-2024-10-21}"},
}
"""What a vendor needs besides its key, from the variables that its own SDK reads."""


OLLAMA = "ollama"
"""The vendor that is found by asking this machine."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found."""

    provider: str
    variable: str | None = None
    """Where its key is. None: it needs none."""
    models: tuple[str, ...] = ()
    """The public names, or patterns of them, that lead to it."""
    note: str | None = None
    """Why it is not used, though its variable is set."""

    def __str__(self) -> str:
        if self.note:
            return f"{self.provider}: {self.note}"
        key = f" ({self.variable})" if self.variable else ""
        return f"{self.provider}{key}: {', '.join(self.models)}"


def from_environment(environ: Mapping[str, str], *, ollama: bool) -> tuple[Snapshot, tuple[Found, ...]]:
    """What the gateway runs on without a file, and what it was made of.

    `ollama` says whether one answers on this machine.
    """
    found = [_tried(candidate, environ) for candidate in _candidates(environ, ollama)]
    snapshot = loads(as_text(found), name=NAME, environ=environ)
    return snapshot, (*found, *_not_yet(environ))


def as_text(found: Iterable[Found]) -> str:
    """A configuration file for what was found."""
    used = [each for each in found if not each.note]
    return "\n".join(["providers:", *map(_provider_line, used), "models:", *map(_model_line, used), ""])


def _provider_line(found: Found) -> str:
    key = {"api_key": f"${{{found.variable}}}"} if found.variable else {}
    fields = {"type": found.provider, **key, **ALSO.get(found.provider, {})}
    written = ", ".join(f'{name}: "{value}"' for name, value in fields.items())
    models = ", ".join(f'"{model}"' for model in found.models if model != _prefixed(found.provider))
    return f"  {found.provider}: {{{written}, models: [{models}]}}"


def _model_line(found: Found) -> str:
    return f'  "{_prefixed(found.provider)}": {{targets: [{{provider: {found.provider}, model: "*"}}]}}'


def _candidates(environ: Mapping[str, str], ollama: bool) -> Iterator[Found]:
    taken: set[str] = set()
    for vendor in VENDORS.values():
        variable = next((name for name in vendor.env if environ.get(name)), None)
        if variable or vendor.in_process or (ollama and vendor.name == OLLAMA):
            names = (_prefixed(vendor.name), *vendor.models)
            yield Found(vendor.name, variable, tuple(name for name in names if name not in taken))
            taken.update(names)


def _prefixed(provider: str) -> str:
    return f"{provider}/*"


def _tried(found: Found, environ: Mapping[str, str]) -> Found:
    """The same, or why it cannot be used."""
    try:
        loads(as_text([found]), name=NAME, environ=environ)
    except ConfigError as error:
        faults = "; ".join(complaint.message for complaint in error.complaints)
        return Found(found.provider, found.variable, note=f"{found.variable} is set, but {faults}")
    return found


def _not_yet(environ: Mapping[str, str]) -> Iterator[Found]:
    for type, variables in PROVIDER_TYPES_NOT_YET.items():
        variable = next((name for name in variables if environ.get(name)), None)
        if variable and type not in VENDORS:
            note = f"{variable} is set, but the type {type} is not supported yet"
            yield Found(type, variable, note=note)
