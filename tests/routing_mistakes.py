"""Mistakes in where calls go and what stands in for what: each a claim, a file, and what is told of it."""

from __future__ import annotations

from tests.mistakes import doc


def entry(name: str, rest: str = "", targets: str = "{provider: echo, model: m}") -> str:
    """A model of its own."""
    return f"  {name}: {{targets: [{targets}]{rest and ', '}{rest}}}\n"


TWO = "{provider: echo, model: a}, {provider: echo, model: b}"
CHEAPEST = "price: {input: 1, output: 2}"

MISROUTED: list[tuple[str, str, list[str]]] = [
    (
        "a fallback that is not there",
        doc(models=entry("n", "fallbacks: [mm]")),
        ["g:5:58: models.n.fallbacks[0]: there is no model `mm` (did you mean `m`?)"],
    ),
    (
        "a fallback for long prompts that is not there",
        doc(models=entry("n", "context_fallbacks: [m, ecko]")),
        ["g:5:69: models.n.context_fallbacks[1]: there is no model `ecko` (did you mean `echo`?)"],
    ),
    (
        "a fallback for filtered calls that is not there",
        doc(models=entry("n", "content_fallbacks: [nowhere]")),
        ["g:5:66: models.n.content_fallbacks[0]: there is no model `nowhere`"],
    ),
    (
        "a fallback on itself",
        doc(models=entry("n", "fallbacks: [n]")),
        ["g:5:46: models.n.fallbacks: goes round in a circle: n -> n"],
    ),
    (
        "a fallback for long prompts on itself",
        doc(models=entry("n", "context_fallbacks: [n]")),
        ["g:5:46: models.n.context_fallbacks: goes round in a circle: n -> n"],
    ),
    (
        "fallbacks in a circle",
        doc(models="".join(entry(a, f"fallbacks: [{b}]") for a, b in ("xy", "yz", "zx"))),
        ["g:5:46: models.x.fallbacks: goes round in a circle: x -> y -> z -> x"],
    ),
    (
        "fallbacks in a circle through lists of several kinds",
        doc(
            models=entry("x", "fallbacks: [y]")
            + entry("y", "context_fallbacks: [m, z]")
            + entry("z", "content_fallbacks: [x]")
        ),
        [
            (
                "g:5:46: models.x.fallbacks: goes round in a circle: "
                "x -> y (fallbacks) -> z (context_fallbacks) -> x (content_fallbacks)"
            )
        ],
    ),
    (
        "two circles in one file",
        doc(models=entry("x", "fallbacks: [y], content_fallbacks: [x]") + entry("y", "fallbacks: [m, x]")),
        [
            "g:5:46: models.x.fallbacks: goes round in a circle: x -> y -> x",
            "g:5:62: models.x.content_fallbacks: goes round in a circle: x -> x",
        ],
    ),
    (
        "fallbacks in a circle through an alias",
        doc(models=entry("n", "fallbacks: [also]"), rest="aliases: {also: n}\n"),
        ["g:5:46: models.n.fallbacks: goes round in a circle: n -> n"],
    ),
    (
        "fallbacks in a circle through a pattern",
        doc(models=entry("n", "fallbacks: [big-1]") + entry("'big-*'", "context_fallbacks: [n]")),
        ["g:5:46: models.n.fallbacks: goes round in a circle: n -> big-* (fallbacks) -> n (context_fallbacks)"],
    ),
    (
        "a target that stands twice",
        doc(models=entry("n", targets=f"{TWO}, {{provider: echo, model: a, weight: 2}}")),
        ["g:5:73: models.n.targets[2]: is the same target as models.n.targets[0] (line 5); write it once"],
    ),
    (
        "a target without a price among the cheapest",
        doc(
            models=entry(
                "n", "strategy: cheapest", f"{{provider: echo, model: a, {CHEAPEST}}}, {{provider: echo, model: b}}"
            )
        ),
        [
            (
                "g:5:75: models.n.targets[1]: has no price that is known, and the strategy cheapest goes by it; "
                "write price: {input: ..., output: ...}, in US dollars per million tokens"
            )
        ],
    ),
    (
        "half a price among the cheapest",
        doc(models=entry("n", "strategy: cheapest", "{provider: echo, model: a, price: {input: 1}}")),
        ["g:5:44: models.n.targets[0].price: `output` is missing"],
    ),
    (
        "a misspelt price among the cheapest",
        doc(models=entry("n", "strategy: cheapest", "{provider: echo, model: a, prise: {input: 1, output: 2}}")),
        ["g:5:44: models.n.targets[0].prise: is not a field here (did you mean `price`?)"],
    ),
    (
        "a conversation that stays with the first anyway",
        doc(models=entry("n", "strategy: ordered, sticky: true", TWO)),
        [
            (
                "g:5:101: models.n.sticky: goes with the strategy weighted only: ordered stays with the first target "
                "anyway; write strategy: weighted, or remove sticky"
            )
        ],
    ),
    (
        "a conversation that nothing keeps together",
        doc(models=entry("n", "strategy: fastest, sticky: true", TWO)),
        [
            (
                "g:5:101: models.n.sticky: goes with the strategy weighted only: fastest chooses by the time to the "
                "first token; write strategy: weighted, or remove sticky"
            )
        ],
    ),
    (
        "a hedge with nobody else to ask",
        doc(models=entry("n", "hedge: 5%")),
        ["g:5:53: models.n.hedge: has no second target to ask; add one, or remove hedge"],
    ),
    (
        "an ejection that is longer than the longest",
        doc(models=entry("n", "breaker: {ejection: 60s, max_ejection: 30s}")),
        ["g:5:46: models.n.breaker: ejection (60s) is longer than max_ejection (30s)"],
    ),
    (
        "an ejection that is longer than the defaults allow",
        doc(models=entry("n", "breaker: {ejection: 60s}"), rest="defaults: {breaker: {max_ejection: 45s}}\n"),
        ["g:5:46: models.n.breaker: ejection (60s) is longer than max_ejection (45s)"],
    ),
    (
        "a default ejection of an hour",
        doc(rest="defaults: {breaker: {ejection: 1h}}\n"),
        ["g:5:12: defaults.breaker: ejection (3600s) is longer than max_ejection (300s)"],
    ),
    (
        "a published model that no URL can name",
        doc("  b: {type: echo, models: ['..']}\n"),
        ["g:3:28: providers.b.models[0]: `..` cannot be part of a URL"],
    ),
]
