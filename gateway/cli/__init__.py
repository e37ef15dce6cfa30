"""The command line. Thin: each command reads its arguments and hands them on.

A command's module is imported when it runs, so that `gateway --help` and the start of the server stay quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.options import (
    AsJson,
    BudgetTokens,
    BudgetUsd,
    ChunkDelay,
    Concurrent,
    Config,
    Every,
    Expires,
    Fail,
    FirstTokenDelay,
    Kept,
    Models,
    Name,
    Names,
    Port,
    Priority,
    Rpm,
    Tpm,
    flag,
)

cli = typer.Typer(
    name="gateway",
    help="An OpenAI-compatible gateway in front of every LLM provider.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

BEGIN, RUN, MANAGE, ELSE = "To begin", "To run it", "To manage it", "To move here, and for drills"
"""What commands are for: the parts of `gateway --help`."""


def _group(name: str, words: str, part: str) -> typer.Typer:
    """A command with commands of its own."""
    group = typer.Typer(help=words)
    cli.add_typer(group, name=name, no_args_is_help=True, rich_help_panel=part)
    return group


providers = _group("providers", "Which providers there are, whether they are well, which models they list.", RUN)
keys = _group("keys", "The keys of clients: those of the configuration, and those made at run time.", MANAGE)
secrets = _group("secrets", "What encrypts the secrets of providers that were made at run time.", MANAGE)
importing = _group("import", "Bring what you have in LiteLLM: its configuration, its keys.", ELSE)


def main() -> None:
    """Runs the command that was typed. However it was started, it calls itself by one name."""
    cli(prog_name="gateway")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Print the version.")
    ] = False,
) -> None:
    pass


@cli.command(rich_help_panel=BEGIN)
def init(
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where to. What is there is never overwritten.")
    ] = Path("gateway.yaml"),
    as_json: AsJson = False,
) -> None:
    """Write a configuration to begin with, from what is found in the environment, and a first key."""
    from gateway.cli.init import run

    raise typer.Exit(run(file, as_json=as_json))


@cli.command(rich_help_panel=BEGIN)
def demo(
    port: Port = 4000,
    fail: Fail = None,
    first_token_delay: FirstTokenDelay = None,
    chunk_delay: ChunkDelay = "20ms",
    print_config: Annotated[
        bool, flag("--print-config", "Print its configuration, to begin one of your own with.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the gateway in front of simulated providers, and show what to try."""
    from gateway.cli.demo import run

    raise typer.Exit(
        run(
            port,
            fail=fail or [],
            first_token_delay=first_token_delay,
            chunk_delay=chunk_delay,
            print_config=print_config,
            as_json=as_json,
        )
    )


@cli.command(rich_help_panel=BEGIN)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration to check: ours, or LiteLLM's.")],
    online: Annotated[
        bool, flag("--online", "Also ask the providers whether they list the models that are named.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a configuration; print every complaint with its line and column."""
    from gateway.cli.check import run

    raise typer.Exit(run(file, online=online, as_json=as_json))


@cli.command(rich_help_panel=RUN)
def serve(
    config: Config = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The address to listen on, instead of server.host.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="The port, instead of server.port.")
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes that answer calls. More than one needs Redis.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Run the gateway."""
    from gateway.cli.serve import run

    raise typer.Exit(run(config, host=host, port=port, workers=workers, as_json=as_json))


@cli.command(rich_help_panel=RUN)
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A public name, as clients ask for it.")],
    config: Config = None,
    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of a key, to see whether it may use the model.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where a call would go, and why."""
    from gateway.cli.explain import run

    raise typer.Exit(run(model, config=config, key=key, as_json=as_json))


@providers.command("list")
def providers_list(config: Config = None, as_json: AsJson = False) -> None:
    """Show the providers, without asking them anything; and how they are, if a gateway runs here."""
    from gateway.cli.providers import show

    raise typer.Exit(show(config, as_json=as_json))


@providers.command("test")
def providers_test(
    names: Names = None,
    config: Config = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Test by a call to this model, for one token. Otherwise nothing is spent."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test whether providers are reached and take the credentials."""
    from gateway.cli.providers import run_test

    raise typer.Exit(run_test(config, names or [], model=model, as_json=as_json))


@providers.command("models")
def providers_models(names: Names = None, config: Config = None, as_json: AsJson = False) -> None:
    """List the models that the providers' APIs list."""
    from gateway.cli.providers import show_models

    raise typer.Exit(show_models(config, names or [], as_json=as_json))


@keys.command("create")
def keys_create(
    name: Name,
    models: Models = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    every: Every = None,
    expires: Expires = None,
    priority: Priority = None,
    config: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it: this once."""
    from gateway.cli.keys import Options, create

    options = Options(models or [], rpm, tpm, concurrent, budget_usd, budget_tokens, every, expires, priority)
    raise typer.Exit(create(config, name, options, as_json=as_json))


@keys.command("update")
def keys_update(
    name: Name,
    models: Models = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    every: Every = None,
    expires: Expires = None,
    priority: Priority = None,
    config: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Change what a key may do. `none` takes a bound away; --every none the whole budget."""
    from gateway.cli.keys import Options, update

    options = Options(models or [], rpm, tpm, concurrent, budget_usd, budget_tokens, every, expires, priority)
    raise typer.Exit(update(config, name, options, as_json=as_json))


@keys.command("list")
def keys_list(config: Kept = None, as_json: AsJson = False) -> None:
    """Show the keys, but not themselves."""
    from gateway.cli.keys import list_all

    raise typer.Exit(list_all(config, as_json=as_json))


@keys.command("rotate")
def keys_rotate(
    name: Name,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old key stays valid; 0s ends it now.")
    ] = "24h",
    config: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key in the place of an old one, and print it."""
    from gateway.cli.keys import rotate

    raise typer.Exit(rotate(config, name, overlap, as_json=as_json))


@keys.command("revoke")
def keys_revoke(name: Name, config: Kept = None, as_json: AsJson = False) -> None:
    """End a key for good, and the one that it has replaced."""
    from gateway.cli.keys import revoke

    raise typer.Exit(revoke(config, name, as_json=as_json))


@secrets.command("rotate")
def secrets_rotate(config: Kept = None, as_json: AsJson = False) -> None:
    """Seal every secret anew under the present admin.encryption_key."""
    from gateway.cli.secrets import rotate

    raise typer.Exit(rotate(config, as_json=as_json))


@importing.command("litellm")
def import_litellm(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="LiteLLM's config.yaml.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="A new file for it. Otherwise it is printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert LiteLLM's configuration, and tell line by line what is the same, changed, unsupported or refused."""
    from gateway.cli.migrating import run

    raise typer.Exit(run(file, out, as_json=as_json))


@importing.command("litellm-keys")
def import_litellm_keys(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="LiteLLM_VerificationToken, as CSV with a heading, or as JSON lines."),
    ],
    config: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Take over LiteLLM's keys, so that clients keep theirs. Those that are there already stay as they are."""
    from gateway.cli.migrating_keys import run

    raise typer.Exit(run(file, config, as_json=as_json))


@cli.command(rich_help_panel=MANAGE)
def usage(
    by: Annotated[str, typer.Option(metavar="WORD", help="key, model, provider, outcome, day or hour (UTC).")] = "key",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long ago, such as 24h, or a date. Whole hours count.")
    ] = "7d",
    until: Annotated[str | None, typer.Option(metavar="TIME", help="The same; without it, until now.")] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME", help="Only this key's calls.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only calls to this public name.")] = None,
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="Only calls that this provider served.")] = None,
    config: Kept = None,
    as_csv: Annotated[bool, flag("--csv", "For spreadsheets: exact numbers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what calls came to: tokens and dollars, out of the ledger."""
    from gateway.cli.usage import Asked, run

    asked = Asked(by, since, until, key, model, provider)
    raise typer.Exit(run(config, asked, as_csv=as_csv, as_json=as_json))


@cli.command(rich_help_panel=ELSE)
def simulate(
    type: Annotated[str, typer.Option(metavar="TYPE", help="The provider type to play, such as anthropic.")] = "openai",
    port: Port = 8080,
    fail: Fail = None,
    first_token_delay: FirstTokenDelay = None,
    chunk_delay: ChunkDelay = None,
    cut_after: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Close the connection after this many chunks.")
    ] = None,
    stall_after: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Go silent after this many chunks.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play a provider, with its faults, for drills and tests."""
    from gateway.cli.simulate import run

    raise typer.Exit(
        run(
            type,
            port,
            fail=fail or [],
            first_token_delay=first_token_delay,
            chunk_delay=chunk_delay,
            cut_after=cut_after,
            stall_after=stall_after,
            as_json=as_json,
        )
    )
