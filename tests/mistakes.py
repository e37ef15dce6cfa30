"""Mistakes between the values of a configuration: each a claim, a file, and what is told of it."""

from __future__ import annotations

KEY = "a-long-enough-key-000001"
DIGEST = "0" * 64


def doc(providers: str = "", models: str = "", rest: str = "") -> str:
    """A good file, with more providers, models and sections."""
    return (
        f"providers:\n  echo: {{type: echo, models: [echo]}}\n{providers}"
        f"models:\n  m: {{targets: [{{provider: echo, model: m}}]}}\n{models}{rest}"
    )


AWS = "  a: {type: bedrock, "

BROKEN: list[tuple[str, str, list[str]]] = [
    (
        "a provider that is not there",
        doc(models="  n: {targets: [{provider: ecko, model: m}]}\n"),
        ["g:5:28: models.n.targets[0].provider: there is no provider `ecko` (did you mean `echo`?)"],
    ),
    (
        "a type that is not there",
        doc("  a: {type: opnai, api_key: x}\n"),
        ["g:3:13: providers.a.type: there is no type `opnai` (did you mean `openai`?)"],
    ),
    (
        "a type that is missing",
        doc("  a: {api_key: x}\n"),
        ["g:3:3: providers.a: `type` is missing"],
    ),
    (
        "an address that is missing",
        doc("  a: {type: openai_compatible}\n"),
        ["g:3:3: providers.a.base_url: is needed by the type openai_compatible"],
    ),
    (
        "a version that is missing",
        doc("  a: {type: azure, base_url: https://a.example, api_key: x}\n"),
        ["g:3:3: providers.a.api_version: is needed by the type azure"],
    ),
    (
        "a version that means nothing",
        doc("  a: {type: groq, api_key: x, api_version: '1'}\n"),
        ["g:3:44: providers.a.api_version: means nothing to the type groq"],
    ),
    (
        "a key that is missing",
        doc("  a: {type: openai}\n"),
        ["g:3:3: providers.a.api_key: is needed by the type openai"],
    ),
    (
        "a key whose variable is empty",
        doc('  a: {type: openai, api_key: "${EMPTY}"}\n'),
        [("g:3:30: providers.a.api_key: is needed by the type openai: the environment variable EMPTY is empty")],
    ),
    (
        "a key for a type that has none",
        doc("  a: {type: echo, api_key: hidden}\n"),
        ["g:3:28: providers.a.api_key: means nothing to the type echo"],
    ),
    (
        "a discovery where nothing is listed",
        doc("  a: {type: perplexity, api_key: hidden, models: discover}\n"),
        ["g:3:50: providers.a.models: the type perplexity lists no models; name them"],
    ),
    (
        "a discovery of deployments",
        doc("  a: {type: azure, base_url: https://h, api_version: v, api_key: hidden, models: discover}\n"),
        [
            "g:3:82: providers.a.models: the type azure lists what could be deployed, not your deployments; name those",
        ],
    ),
    (
        "a region that is missing",
        doc("  a: {type: bedrock}\n"),
        ['g:3:3: providers.a.region: is needed by the type bedrock: write us-east-1, or "${AWS_REGION}"'],
    ),
    (
        "a region whose variable is empty",
        doc(f"{AWS}region: '${{EMPTY}}'}}\n"),
        ["g:3:30: providers.a.region: is needed by the type bedrock: the environment variable EMPTY is empty"],
    ),
    (
        "a region whose hosts are not known",
        doc(f"{AWS}region: cn-north-1}}\n"),
        ["g:3:30: providers.a.region: is in a cloud of AWS whose hosts are not known; write endpoint_url too"],
    ),
    (
        "half of a pair of keys",
        doc(f"{AWS}region: eu-west-1, access_key_id: hidden}}\n"),
        ["g:3:3: providers.a.secret_access_key: is needed with access_key_id"],
    ),
    (
        "the other half of a pair of keys",
        doc(f"{AWS}region: eu-west-1, access_key_id: '${{EMPTY}}', secret_access_key: hidden}}\n"),
        [
            (
                "g:3:56: providers.a.access_key_id: is needed with secret_access_key: "
                "the environment variable EMPTY is empty"
            )
        ],
    ),
    (
        "a token without its keys",
        doc(f"{AWS}region: eu-west-1, session_token: hidden}}\n"),
        [
            "g:3:3: providers.a.access_key_id: is needed with session_token",
            "g:3:3: providers.a.secret_access_key: is needed with session_token",
        ],
    ),
    (
        "a pair of keys in one that is none",
        doc(f"{AWS}region: eu-west-1, api_key: 'hidden:hidden'}}\n"),
        [
            "g:3:50: providers.a.api_key: holds a colon, and is not of the form access_key_id:secret_access_key",
        ],
    ),
    (
        "a profile beside other credentials",
        doc(f"{AWS}region: eu-west-1, profile: team, api_key: hidden}}\n"),
        ["g:3:50: providers.a.profile: would never be used: there are other credentials here"],
    ),
    (
        "an address in the words of other types",
        doc(f"{AWS}region: eu-west-1, base_url: https://a.example}}\n"),
        ["g:3:51: providers.a.base_url: means nothing to the type bedrock; write endpoint_url"],
    ),
    (
        "the fields of AWS at a type that knows them not",
        doc(
            "  a:\n    type: openai\n    api_key: x\n    region: eu-west-1\n    access_key_id: hidden\n"
            "    secret_access_key: hidden\n    session_token: hidden\n    profile: p\n"
            "    endpoint_url: https://a.example\n"
        ),
        [
            "g:6:13: providers.a.region: means nothing to the type openai",
            "g:7:20: providers.a.access_key_id: means nothing to the type openai",
            "g:8:24: providers.a.secret_access_key: means nothing to the type openai",
            "g:9:20: providers.a.session_token: means nothing to the type openai",
            "g:10:14: providers.a.profile: means nothing to the type openai",
            "g:11:19: providers.a.endpoint_url: means nothing to the type openai; write base_url",
        ],
    ),
    (
        "a model without targets",
        doc(models="  n: {targets: []}\n"),
        ["g:5:7: models.n.targets: at least one target is needed"],
    ),
    (
        "a model without the field",
        doc(models="  n: {strategy: ordered}\n"),
        ["g:5:3: models.n: `targets` is missing"],
    ),
    (
        "a target without a model",
        doc(models="  n: {targets: [{provider: echo}]}\n"),
        ["g:5:17: models.n.targets[0]: `model` is missing"],
    ),
    (
        "a weight of nothing",
        doc(models="  n: {targets: [{provider: echo, model: m, weight: 0}]}\n"),
        ["g:5:52: models.n.targets[0].weight: `0` must be above 0, and finite"],
    ),
    (
        "a weight without end",
        doc(models="  n: {targets: [{provider: echo, model: m, weight: .inf}]}\n"),
        ["g:5:52: models.n.targets[0].weight: `.inf` is not a number"],
    ),
    (
        "a model that is all disabled",
        doc("  off: {type: echo, enabled: false}\n", "  n: {targets: [{provider: off, model: m}]}\n"),
        ["g:6:7: models.n.targets: every target is on a disabled provider"],
    ),
    (
        "two stars in a name",
        doc(models="  'n*n*': {targets: [{provider: echo, model: m}]}\n"),
        ["g:5:3: models.n*n*: `n*n*` holds more than one *"],
    ),
    (
        "a star that stands for nothing",
        doc(models="  n: {targets: [{provider: echo, model: 'n-*'}]}\n"),
        ["g:5:41: models.n.targets[0].model: holds a *, but the public name `n` does not"],
    ),
    (
        "a model that no URL can name",
        doc(models="  n: {targets: [{provider: echo, model: '..'}]}\n"),
        ["g:5:41: models.n.targets[0].model: `..` cannot be part of a URL"],
    ),
    (
        "a default of the client's own fields",
        doc(models="  n: {targets: [{provider: echo, model: m}], defaults: {stream: true}}\n"),
        ["g:5:65: models.n.defaults.stream: is always the client's own; it cannot have a default"],
    ),
    (
        "a name that two providers publish",
        doc("  b: {type: echo, models: [echo]}\n"),
        [
            (
                "g:3:28: providers.b.models[0]: `echo` is published twice; providers.echo.models[0] (line 2) "
                "publishes it already"
            )
        ],
    ),
    (
        "a name that a model and a provider publish",
        doc("  b: {type: echo, models: [m]}\n"),
        ["g:3:28: providers.b.models[0]: `m` is published twice; models.m (line 5) publishes it already"],
    ),
    (
        "an alias of nothing",
        doc(rest="aliases: {a: nn}\n"),
        ["g:5:14: aliases.a: there is no model `nn`"],
    ),
    (
        "an alias of an alias",
        doc(rest="aliases: {a: m, b: a}\n"),
        ["g:5:20: aliases.b: `a` is an alias too; name the model itself"],
    ),
    (
        "an alias that hides a model",
        doc(rest="aliases: {m: echo}\n"),
        ["g:5:14: aliases.m: is the name of a model already"],
    ),
    (
        "an alias that is a pattern",
        doc(rest="aliases: {'a-*': m}\n"),
        ["g:5:11: aliases.a-*: `a-*` cannot hold a *: only entries of models may be patterns"],
    ),
    (
        "a default model that is not there",
        doc(rest="default_model: ech\n"),
        ["g:5:16: default_model: there is no model `ech` (did you mean `echo`?)"],
    ),
    (
        "a connection that may outlast its call",
        doc(models="  n: {targets: [{provider: echo, model: m}], timeouts: {connect: 9s, total: 3s}}\n"),
        ["g:5:46: models.n.timeouts: connect (9s) is longer than total (3s)"],
    ),
    (
        "a default connection that may outlast its call",
        doc(rest="defaults: {timeouts: {connect: 20m}}\n"),
        ["g:5:12: defaults.timeouts: connect (1200s) is longer than total (600s)"],
    ),
    (
        "two keys of one name",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}1}}\n  - {{name: a, key: {KEY}2}}\n"),
        ["g:7:12: keys[1].name: `a` is the name of keys[0] already"],
    ),
    (
        "one key under two names",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}}}\n  - {{name: b, key: {KEY}}}\n"),
        ["g:7:5: keys[1]: is the same key as that of `a`"],
    ),
    (
        "a key that is written in two ways",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}, sha256: {DIGEST}}}\n"),
        ["g:6:5: keys[0]: has both key and sha256; one is enough"],
    ),
    (
        "a key that is written in no way",
        doc(rest="keys:\n  - {name: a}\n"),
        ["g:6:5: keys[0]: needs key or sha256"],
    ),
    (
        "a client's key whose variable is empty",
        doc(rest='keys:\n  - {name: a, key: "${EMPTY}"}\n'),
        ["g:6:20: keys[0].key: needs key or sha256: the environment variable EMPTY is empty"],
    ),
    (
        "a key that everyone knows",
        doc(rest="keys:\n  - {name: a, key: sk-1234}\n"),
        [("g:6:20: keys[0].key: is a key that everyone knows from examples; make your own: openssl rand -hex 24")],
    ),
    (
        "a key that is too short",
        doc(rest="keys:\n  - {name: a, key: hidden}\n"),
        ["g:6:20: keys[0].key: is shorter than 16 characters; make a better one: openssl rand -hex 24"],
    ),
    (
        "a key for a model that is not there",
        doc(rest=f"keys:\n  - {{name: a, key: {KEY}, models: [m, mm, 'x-*']}}\n"),
        [
            "g:6:58: keys[0].models[1]: there is no model `mm` (did you mean `m`?)",
            "g:6:62: keys[0].models[2]: there is no model `x-*`",
        ],
    ),
    (
        "a key without a name",
        doc(rest=f"keys:\n  - {{key: {KEY}}}\n"),
        ["g:6:5: keys[0]: `name` is missing"],
    ),
    (
        "an open address without keys",
        doc(rest="server: {host: 0.0.0.0}\n"),
        ["g:5:16: server.host: `0.0.0.0` can be reached by others, and there are no keys; add keys"],
    ),
    (
        "a host's name without keys",
        doc(rest="server: {host: gateway.example}\n"),
        [("g:5:16: server.host: `gateway.example` can be reached by others, and there are no keys; add keys")],
    ),
    (
        "an open address and no keys in the list",
        doc(rest="server: {host: '::'}\nkeys: []\n"),
        ["g:5:16: server.host: `::` can be reached by others, and there are no keys; add keys"],
    ),
    (
        "a misspelt section tells nothing more",
        doc().replace("providers:", "provders:"),
        ["g:1:1: provders: is not a field here (did you mean `providers`?)"],
    ),
    (
        "a field and a name that are wrong are told together",
        doc(models="  n: {targets: [{provider: eco, model: m}], retry: {}}\n"),
        [
            "g:5:28: models.n.targets[0].provider: there is no provider `eco` (did you mean `echo`?)",
            "g:5:45: models.n.retry: is not a field here (did you mean `retries`?)",
        ],
    ),
]
