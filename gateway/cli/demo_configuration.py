"""What `gateway demo` runs on: an ordinary file, `TEXT`, read as any other.

For the demo its variables are filled in with the simulators' addresses and with keys that open nothing else; for real
they are the user's to set.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.expand import expand

KEYS: Mapping[str, str] = {
    "everything": "sk-demo-everything",
    "gpt-4o-only": "sk-demo-gpt-4o-only",
    "three-a-minute": "sk-demo-three-a-minute",
}
"""By name. No secrets: whoever reaches the demo talks to simulators."""

ADMIN_TOKEN = "demo-admin-token"  # noqa: S105  likewise
"""What opens the dashboard of the demo, and the API behind it."""

TEXT = """\
# What `gateway demo` runs on, where a simulator plays each provider. To use it for real: keep the providers that you
# have and set the variables of their credentials. Keys for your clients, and GATEWAY_ADMIN_TOKEN for the dashboard, are
# made with `openssl rand -hex 24`; GATEWAY_ENCRYPTION_KEY, which seals the secrets of providers that are made there,
# with `openssl rand -base64 32`.
# OPENAI_URL and its like may stay empty: they are for another address than the provider's own.

server:
  host: 127.0.0.1
  port: ${GATEWAY_PORT:-4000}
  drain: ${GATEWAY_DRAIN:-120s}

state:
  database: ${GATEWAY_DATABASE:-sqlite:///gateway.db}

admin:
  tokens:
    - {name: root, token: "${GATEWAY_ADMIN_TOKEN}", permissions: ["*"]}
  encryption_key: ${GATEWAY_ENCRYPTION_KEY:-}

providers:
  openai: {type: openai, base_url: "${OPENAI_URL:-}", api_key: "${OPENAI_API_KEY}"}
  azure: {type: azure, base_url: "${AZURE_URL}", api_key: "${AZURE_OPENAI_API_KEY}", api_version: "2024-10-21"}
  anthropic: {type: anthropic, base_url: "${ANTHROPIC_URL:-}", api_key: "${ANTHROPIC_API_KEY}"}
  bedrock:
    type: bedrock
    region: us-east-1
    endpoint_url: ${BEDROCK_URL:-}
    access_key_id: ${AWS_ACCESS_KEY_ID}
    secret_access_key: ${AWS_SECRET_ACCESS_KEY}
  gemini: {type: gemini, base_url: "${GEMINI_URL:-}", api_key: "${GEMINI_API_KEY}"}
  cohere: {type: cohere, base_url: "${COHERE_URL:-}", api_key: "${CO_API_KEY}"}
  mistral: {type: mistral, base_url: "${MISTRAL_URL:-}", api_key: "${MISTRAL_API_KEY}"}
  ollama: {type: ollama, base_url: "${OLLAMA_URL:-}"}
  vllm: {type: vllm, base_url: "${VLLM_URL:-}"}
  own-server: {type: openai_compatible, base_url: "${OPENAI_COMPATIBLE_URL}"}
  always-full:                  # in the demo it refuses every call
    type: openai_compatible
    base_url: ${ALWAYS_FULL_URL}

models:
  gpt-4o: {targets: [{provider: openai, model: gpt-4o}]}
  gpt-4o-mini: {targets: [{provider: azure, model: gpt-4o-mini}]}
  claude: {targets: [{provider: anthropic, model: claude-sonnet-4-5-20250929}]}
  nova: {targets: [{provider: bedrock, model: "amazon.nova-lite-v1:0"}]}
  gemini: {targets: [{provider: gemini, model: gemini-2.5-flash}]}
  command: {targets: [{provider: cohere, model: command-a-03-2025}]}
  mistral: {targets: [{provider: mistral, model: mistral-small-latest}]}
  llama: {targets: [{provider: ollama, model: llama3.2}]}
  qwen: {targets: [{provider: vllm, model: Qwen/Qwen3-8B}]}
  deepseek: {targets: [{provider: own-server, model: deepseek-chat}]}
  embed: {targets: [{provider: cohere, model: embed-v4.0}]}
  failover:                     # the first that works
    strategy: ordered
    targets:
      - {provider: always-full, model: any}
      - {provider: mistral, model: mistral-small-latest}
  split:                        # three calls of four go to openai
    targets:
      - {provider: openai, model: gpt-4o, weight: 3}
      - {provider: azure, model: gpt-4o, weight: 1}

keys:
  - name: everything
    key: ${EVERYTHING_KEY}
    limits: {concurrent_requests: 100}
    budget: {tokens: 1M, every: day}
  - name: gpt-4o-only
    key: ${GPT_4O_ONLY_KEY}
    models: [gpt-4o]
    budget: {usd: 1, every: hour}
  - name: three-a-minute
    key: ${THREE_A_MINUTE_KEY}
    limits: {requests_per_minute: 3}
"""

CREDENTIALS = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "GEMINI_API_KEY",
    "CO_API_KEY",
    "MISTRAL_API_KEY",
)
"""Variables of `TEXT` that hold a provider's credential."""

CREDENTIAL = "simulated"
"""What they hold in the demo. Simulators of servers that want a key want this one."""


def filled(variables: Mapping[str, str]) -> str:
    """The text with these variables, the credentials, the keys and the admin token in their places."""
    keys = {f"{name.upper().replace('-', '_')}_KEY": key for name, key in KEYS.items()}
    known = {"GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN, **dict.fromkeys(CREDENTIALS, CREDENTIAL), **keys}
    return expand(TEXT, {**known, **variables}).text
