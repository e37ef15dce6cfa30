"""`gateway check`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from gateway.cli.configuration import complain, configured
from gateway.cli.telling import counted, print_json
from gateway.config.complaints import Complaint
from gateway.config.doubts import doubts
from gateway.config.read import ConfigError
from gateway.config.resolve import Loaded
from gateway.config.unpriced import unpriced


def run(file: Path, *, online: bool = False, as_json: bool) -> int:
    """Prints every complaint about the file. Returns the exit status: 0 if there are none, else 1.

    Warnings change no status. There are some for models that a budget cannot count, and with `online`, when providers
    are asked for their models too, for what comes of that: a provider that is away today, or lists less than it
    serves, does not make a file wrong.
    """
    try:
        loaded, _ = configured(file)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    warnings = unpriced(loaded.spec, loaded.snapshot, loaded.review) + (_asked(loaded) if online else ())
    if as_json:
        told = {"ok": True, "complaints": [], "warnings": [asdict(warning) for warning in warnings]}
        print_json(told)
        return 0
    for warning in warnings:
        Console(highlight=False, markup=False).print(f"{warning} (warning)", style="yellow", soft_wrap=True)
    snapshot = loaded.snapshot
    models = len(snapshot.models) + len(snapshot.patterns)
    counts = ", ".join(
        counted(number, noun)
        for number, noun in ((len(snapshot.providers), "provider"), (models, "model"), (len(snapshot.keys), "key"))
    )
    Console(highlight=False).print(f"[green]{file} is good[/green]: {counts}.", soft_wrap=True)
    return 0


def _asked(loaded: Loaded) -> tuple[Complaint, ...]:
    """What the providers say to the models that are named, and which of them cannot be asked."""
    from gateway.cli.providers import look_at_all

    providers = loaded.snapshot.providers
    checks = look_at_all([provider for provider in providers.values() if not provider.vendor.in_process])
    away = loaded.review.beside()
    for check in checks:
        if check.error:
            away.complain(("providers", check.provider), check.error)
    listed = {check.provider: check.models for check in checks if check.models is not None}
    return tuple(sorted((*away.complaints, *doubts(loaded.spec, providers, listed, loaded.review))))
