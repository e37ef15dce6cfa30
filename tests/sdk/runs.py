"""The official SDKs against the gateway: each runs its scenarios once, and says of each what came of it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest
import uvloop
from _pytest.mark import ParameterSet

from gateway.engine.entry import Entry
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, gateway
from tests.sdk.providers import BEYOND, PROVIDERS, provider

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".sdk"
"""Where `make` puts the SDKs that the project's own environment does not have."""

PYTHON, NODE = (Path(__file__).with_name(name) for name in ("python_scenarios.py", "node_scenarios.mjs"))
SCENARIO = {
    PYTHON: re.compile(r"^(?:async )?def (\w+)\(client: \w+\) -> None", re.MULTILINE),
    NODE: re.compile(r'^  async "(.+)"\(client\)', re.MULTILINE),
}

HEARTBEAT = 0.2
THINKING = HEARTBEAT + 1.3
"""Seconds of silence in which a heartbeat is sure to come: the gateway looks for its need of one every second."""

PATIENCE = 60.0
"""Seconds that an SDK has for all its scenarios; it needs about five of them."""


NO_AUTHORITIES = {"SSL_CERT_DIR": str(ROOT)}
"""Where none are. Left to themselves, clients read the world's, though they need no TLS: a client for each scenario."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """An SDK with its scenarios."""

    script: Path
    command: tuple[str, ...]
    installed: bool
    home: Path = ROOT
    """Where the command is started."""
    type: str = "openai"
    """Of the providers behind the gateway."""

    @property
    def scenarios(self) -> list[str]:
        """Their names, as the script prints them."""
        return [name.replace("_", " ") for name in SCENARIO[self.script].findall(self.script.read_text())]


OLD_PYTHON = HOME / "python-1/bin/python"
MODULE = ("-m", "tests.sdk.python_scenarios")
SDKS = {
    "openai-python 3": Sdk(PYTHON, (sys.executable, *MODULE), find_spec("openai") is not None),
    "openai-python 1": Sdk(PYTHON, (str(OLD_PYTHON), *MODULE), OLD_PYTHON.exists()),
    "openai-node 6": Sdk(NODE, ("node", str(NODE)), (HOME / "node_modules/openai").exists(), HOME),
}
PROVIDERS_BEHIND = {
    f"with {type}": replace(SDKS["openai-python 3"], type=type) for type in PROVIDERS if type != "openai"
}
"""The newest of them, with every other type of provider behind the gateway."""

FAULTS = {
    "good": Faults(),
    "limited": Faults(fail=(("429", 1),), retry_after=0.05),
    "busy": Faults(fail=(("429", 1),), retry_after=0.05),
    "picky": Faults(fail=(("400", 1),)),
    "locked": Faults(fail=(("401", 1),)),
    "broken": Faults(fail=(("500", 1),)),
    "overloaded": Faults(fail=(("503", 1),)),
    "cut": Faults(cut_after=3),
    "thinking": Faults(first_token_delay=THINKING),
    "sorry": Faults(fail=(("500", 1),), first_token_delay=THINKING),
    "stalled": Faults(stall_after=3),
    "abandoned": Faults(stall_after=3),
    "silent": Faults(first_token_delay=60),
    "endless": Faults(first_token_delay=60),
}
"""A provider each, and a model of the same name."""

LEAVING = {
    "a stream may be left early": "stalled",
    "the sdks own timeout ends the call": "silent",
    "an async reader may be cancelled": "abandoned",
}
"""Scenarios that end before their answer does, and the provider that was giving it."""

CONFIG = """
server: {{max_body: 2MiB}}
defaults: {{retries: {{attempts: 1}}}}
providers:
{providers}
  nowhere: {{type: openai, base_url: 'http://127.0.0.1:1/v1', api_key: sk-test}}
models:
{models}
  gpt-4o: {{targets: [{{provider: good, model: gpt-4o}}]}}
  meta/llama-3: {{targets: [{{provider: good, model: llama-3}}]}}
  late: {{targets: [{{provider: endless, model: any}}], timeouts: {{total: 300ms}}}}
  unreachable: {{targets: [{{provider: nowhere, model: any}}], retries: {{attempts: 2}}}}
  second-choice:
    strategy: ordered
    retries: {{attempts: 2}}
    targets: [{{provider: limited, model: any}}, {{provider: good, model: gpt-4o}}]
keys:
  - {{name: sdk, key: {key}, priority: high}}
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a script said of one scenario, and when, by the clock of the simulators."""

    ok: bool
    detail: str
    at: float


@dataclass(slots=True)
class Run:
    """All scenarios of one SDK, seen from both sides."""

    told: dict[str, Told] = field(default_factory=dict)
    noise: list[str] = field(default_factory=list)
    """What else the script printed: why it ended early, if it did."""
    entries: list[Entry] = field(default_factory=list)
    hang_ups: dict[str, list[float]] = field(default_factory=dict)

    def calls(self, model: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.model == model]


@cache
def run_of(name: str) -> Run:
    """One run for all tests: an SDK takes longer to start than most of its scenarios."""
    sdk = (SDKS | PROVIDERS_BEHIND)[name]
    if not sdk.installed:
        pytest.skip(f"{name} is not installed; `make` puts it into {HOME.name}/")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(sdk))


async def _run(sdk: Sdk) -> Run:
    async with AsyncExitStack() as stack:
        simulators = {
            name: await stack.enter_async_context(Simulator(faults, type=sdk.type, coalesce=0))
            for name, faults in FAULTS.items()
        }
        running = await stack.enter_async_context(gateway(_config(sdk.type, simulators), heartbeat=HEARTBEAT))
        run = Run(entries=running.entries, hang_ups={name: each.hangups for name, each in simulators.items()})
        await _converse(sdk, f"http://127.0.0.1:{running.port}/v1", run)
    return run


def _config(type: str, simulators: dict[str, Simulator]) -> str:
    providers = (f"  {name}: {provider(type, each.url)}" for name, each in simulators.items())
    models = (f"  {name}: {{targets: [{{provider: {name}, model: {name}}}]}}" for name in simulators)
    return CONFIG.format(providers="\n".join(providers), models="\n".join(models), key=KEY)


async def _converse(sdk: Sdk, url: str, run: Run) -> None:
    """Lets the script run to its end, and writes down what it says."""
    process = await asyncio.create_subprocess_exec(
        *(*sdk.command, url, KEY),
        cwd=sdk.home,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*", **NO_AUTHORITIES},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(PATIENCE):
            async for line in process.stdout:
                _write_down(line, run)
    except TimeoutError:
        run.noise.append(f"It was stopped after {PATIENCE:g} seconds.")
        process.kill()
    finally:
        await process.wait()


def _write_down(line: bytes, run: Run) -> None:
    if line.startswith(b"{"):
        told = orjson.loads(line)
        run.told[told["name"]] = Told(told["ok"], told["detail"], asyncio.get_running_loop().time())
    else:
        run.noise.append(line.decode(errors="replace"))


def cases(sdks: Mapping[str, Sdk]) -> list[ParameterSet]:
    """Each scenario of each SDK. What cannot be with a type of provider must fail: so the list of it stays true."""
    return [_case(name, sdk, scenario) for name, sdk in sdks.items() for scenario in sdk.scenarios]


def _case(name: str, sdk: Sdk, scenario: str) -> ParameterSet:
    beyond = BEYOND.get((sdk.type, scenario))
    marks = [pytest.mark.xfail(reason=beyond, strict=True)] if beyond else []
    return pytest.param(name, scenario, id=f"{name}: {scenario}", marks=marks)


def check(name: str, scenario: str) -> None:
    """Raises AssertionError unless the SDK found everything as it expects."""
    run = run_of(name)
    assert scenario in run.told, "".join(run.noise)
    assert run.told[scenario].ok, run.told[scenario].detail


def check_left(name: str, scenario: str) -> None:
    """Raises AssertionError unless the provider was set free within a second of the client's leaving."""
    run = run_of(name)
    left = run.told[scenario].at
    assert [at for at in run.hang_ups[LEAVING[scenario]] if abs(at - left) < 1]
