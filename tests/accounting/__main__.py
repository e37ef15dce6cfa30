"""Plays twenty thousand calls, or as many as are asked for, and kills twenty gateways.

`python -m tests.accounting [CALLS [KILLED [SEED]]] [--workers N]`
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop
from rich.console import Console

from tests.accounting.audit import differences, played
from tests.accounting.kills import Books, kept_through

CALLS, KILLED, SEED = 20_000, 20, 0

CONSOLE = Console(highlight=False, soft_wrap=True)


def play(calls: int, seed: int, workers: int) -> bool:
    """Prints where the accounts differ, and says whether they agree."""
    found = played(calls, seed, workers)
    guessed, served = found.guessed, found.unsaid
    CONSOLE.print(f"{len(found.seen)} calls in {found.seconds:.0f} s, {len(found.estimated)} of them estimated:")
    CONSOLE.print(f"  {guessed.input} tokens of input, and {served.input} were served")
    CONSOLE.print(f"  {guessed.output} tokens of output, and {served.output} were served")
    said = list(differences(found))
    CONSOLE.print("\n".join(said[:50]) or "The accounts agree.", markup=False)
    return not said


def kill(lives: int) -> bool:
    """Prints which answered calls were lost, and says whether there were none."""
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answered, kept = runner.run(kept_through(lives, Books(Path(folder))))
    CONSOLE.print(f"{lives} gateways killed, {len(answered)} calls answered, {len(kept)} recorded:")
    CONSOLE.print(", ".join(sorted(answered - kept)) or "None was lost.")
    return answered <= kept


def main() -> int:
    """Returns the exit status."""
    parser = ArgumentParser(prog="python -m tests.accounting")
    parser.add_argument("calls", type=int, nargs="?", default=CALLS)
    parser.add_argument("killed", type=int, nargs="?", default=KILLED)
    parser.add_argument("seed", type=int, nargs="?", default=SEED)
    parser.add_argument("--workers", type=int, default=1, help="above 1: processes that share a Valkey")
    asked = parser.parse_args()
    return 0 if play(asked.calls, asked.seed, asked.workers) & kill(asked.killed) else 1


if __name__ == "__main__":
    sys.exit(main())
