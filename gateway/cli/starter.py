"""The configuration that `gateway init` writes: what was found in the environment, and what else there is, in comments.

It names variables and holds no secret: of the first key it has the SHA-256 alone. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.config.environment import Found

KEY = "first-app"
"""How the first key is called."""

ADMIN_TOKEN = "GATEWAY_ADMIN_TOKEN"  # noqa: S105  the name of a variable
"""If it is set, it opens the admin API and the dashboard."""

HEAD = """\
# A configuration to begin with. `gateway check FILE` checks it, `gateway serve --config FILE` runs it, and a change is
# taken over while it runs. No secret has to stand here: ${NAME} is a variable of the environment, ${NAME:-text} one
# with a default, and file:/run/secrets/name is what stands in that file.

server:
  host: 127.0.0.1                   # or 0.0.0.0, to be reached from elsewhere
  port: 4000

state:
  database: sqlite:///gateway.db    # what calls used and cost, and keys made at run time; made where it is started
  # redis: redis://127.0.0.1:6379   # shared by several replicas: limits, budgets, what is known of providers
"""

ADMIN = """
# The dashboard at /dashboard, and the API behind it. A token: openssl rand -hex 24
admin:
  tokens:
    - {name: root, token: "${GATEWAY_ADMIN_TOKEN}", permissions: ["*"]}
  # encryption_key: ${GATEWAY_ENCRYPTION_KEY}   # openssl rand -base64 32; for the secrets of providers made at run time
"""

PROVIDERS = """
# Accounts at vendors, and servers of your own. `models` publishes models under their own names.
providers:
"""

MODELS = """
# What clients ask for, and where it goes. One * stands for any text; in a target it is that text.
models:
"""

EXAMPLE = """\
  # assistant:                      # a name of your own, with somewhere else to go
  #   targets:
  #     - {provider: openai, model: gpt-4o-mini, weight: 3}
  #     - {provider: azure, model: my-deployment, weight: 1}
  #   fallbacks: [claude-haiku-4-5] # when both have failed
  #   timeouts: {first_token: 30s, total: 5m}

# aliases: {gpt-4: assistant}
# default_model: assistant          # for requests that name none
"""

KEYS = """
# Who may call. Of the key itself only the SHA-256 is here; it was shown when this file was written.
keys:
  - name: {name}
    sha256: {digest}
    limits: {{requests_per_minute: 600, concurrent_requests: 40}}
    # models: ["gpt-*"]             # left out: all
    # budget: {{usd: 50, every: month}}
"""


def starter(found: Iterable[Found], digest: str, *, with_admin: bool) -> str:
    """The text of the file. `digest` is the SHA-256 of the first key, in hexadecimal."""
    found = tuple(found)
    used = [each for each in found if not each.note]
    unused = [f"  # {each}\n" for each in found if each.note]
    return "".join(
        (
            HEAD,
            ADMIN if with_admin else _commented(ADMIN),
            PROVIDERS,
            *(line for each in used for line in _provider(each)),
            *unused,
            MODELS,
            *(f'  "{each.provider}/*": {{targets: [{{provider: {each.provider}, model: "*"}}]}}\n' for each in used),
            EXAMPLE,
            KEYS.format(name=KEY, digest=digest),
        )
    )


def _provider(found: Found) -> Iterator[str]:
    yield f"  {found.provider}:\n"
    for name, value in found.fields.items():
        yield f"    {name}: {value}\n"
    models = ", ".join(f'"{model}"' for model in found.models if model != f"{found.provider}/*")
    if models:
        yield f"    models: [{models}]\n"


def _commented(text: str) -> str:
    """The same, switched off: each line that says something is a comment."""
    return "".join(line if line.startswith(("#", "\n")) else f"# {line}" for line in text.splitlines(keepends=True))
