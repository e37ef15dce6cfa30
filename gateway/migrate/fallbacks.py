"""Models that stand in for others, and other names for them.

LiteLLM takes names that nobody has and circles that never end; here both are mistakes. A name that nobody has is
refused. Of a circle the last step is left out, because a call goes on to the fallbacks of its fallbacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gateway.config.complaints import did_you_mean, quoted
from gateway.config.fallbacks import KINDS
from gateway.config.names import overlap
from gateway.config.values import exact
from gateway.migrate.draft import Draft
from gateway.migrate.source import Setting

LITELLM_KINDS = {
    "fallbacks": "fallbacks",
    "context_window_fallbacks": "context_fallbacks",
    "content_policy_fallbacks": "content_fallbacks",
}
"""What LiteLLM calls the lists, and what they are called here."""

ANY = "*"
"""The name that LiteLLM takes for every model without fallbacks of its own."""


def write_aliases(draft: Draft, setting: Setting) -> None:
    """Other names, from `model_group_alias`."""
    models = draft.content.get("models", {})
    for alias in setting.settings():
        target = alias.by_key().get("model", alias)
        try:
            exact(alias.key)
        except ValueError as error:
            draft.refused(alias, f"the alias {error}")
            continue
        if alias.key in models:
            draft.refused(alias, "is the name of a model too; remove one of the two")
        elif not _leads(target.text, models, {}):
            draft.refused(alias, f"there is no model {quoted(target.text)}{did_you_mean(target.text, models)}")
        else:
            draft.content.setdefault("aliases", {})[alias.key] = target.text
            if (hidden := alias.by_key().get("hidden")) and hidden.value is True:
                draft.changed(hidden, "is listed like any model", ("aliases",))
            draft.same(alias, f"aliases: another name for {quoted(target.text)}")


def write(draft: Draft, lists: Mapping[str, Setting], left_out: Collection[str]) -> None:
    """The lists of fallbacks, and those for every model. `left_out` are names of the file that are not models here."""
    writer = _Writer(draft, left_out)
    for kind, field in LITELLM_KINDS.items():
        if kind in lists:
            for name in _named(lists[kind]):
                if name.key != ANY:
                    writer.write(name.key, field, name)
    for setting in _for_all(lists):
        writer.write_for_all(setting)


def _named(setting: Setting) -> Iterator[Setting]:
    """Lists by the name that they are for: as LiteLLM has them, mappings of one entry in a list, or as one mapping."""
    for each in setting.items() or [setting]:
        yield from each.settings()


def _for_all(lists: Mapping[str, Setting]) -> Iterator[Setting]:
    if "fallbacks" in lists:
        yield from (name for name in _named(lists["fallbacks"]) if name.key == ANY)
    if "default_fallbacks" in lists:
        yield lists["default_fallbacks"]


def _leads(name: str, models: Mapping[str, Any], aliases: Mapping[str, str]) -> str | None:
    """The entry of `models` that calls to a name lead to."""
    name = aliases.get(name, name)
    if name in models:
        return name
    matches = [pattern for pattern in models if "*" in pattern and overlap(pattern, name)] if name else []
    return max(matches, key=lambda pattern: len(pattern.partition("*")[0]), default=None)


class _Writer:
    """Adds fallbacks one by one, and knows where all of them lead."""

    def __init__(self, draft: Draft, left_out: Collection[str]) -> None:
        self._draft = draft
        self._left_out = left_out
        self._models: dict[str, dict[str, Any]] = draft.content.get("models", {})
        self._aliases: Mapping[str, str] = draft.content.get("aliases", {})

    def write(self, name: str, field: str, setting: Setting) -> None:
        model = self._aliases.get(name, name)
        if model not in self._models:
            pattern = _leads(name, self._models, self._aliases)
            if pattern:
                words = f"is served by the pattern {quoted(pattern)}; give it a row of its own for fallbacks of its own"
                self._draft.unsupported(setting, words)
            else:
                self._draft.refused(setting, f"there is no model {quoted(name)}{did_you_mean(name, self._models)}")
            return
        for item in setting.items() or [setting]:
            self._add(model, field, item)

    def write_for_all(self, setting: Setting) -> None:
        """Fallbacks of those that have none."""
        without = [name for name, model in self._models.items() if "fallbacks" not in model]
        for item in setting.items() or [setting]:
            if not self._is_known(item):
                continue
            spared = [name for name in without if not self._try(name, "fallbacks", item.text)]
            words = "a fallback of every model without one"
            but = [name for name in spared if name != _leads(item.text, self._models, self._aliases)]
            if but:
                self._draft.changed(item, f"{words}, but of {', '.join(map(quoted, but))}, to which it leads itself")
            else:
                self._draft.same(item, words)

    def _add(self, model: str, field: str, item: Setting) -> None:
        if not self._is_known(item):
            return
        if self._try(model, field, item.text):
            self._draft.same(item, f"models.{model}.{field}")
        else:
            words = "left out: it leads back here, and calls go on to the fallbacks of their fallbacks"
            self._draft.changed(item, f"{quoted(item.text)} is {words}", ("models", model))

    def _is_known(self, item: Setting) -> bool:
        if not item.text:
            self._draft.unsupported(item, "only names of models can stand in for others")
        elif _leads(item.text, self._models, self._aliases):
            return True
        elif item.text in self._left_out:
            self._draft.unsupported(item, f"{quoted(item.text)} is left out, see its row")
        else:
            names = [*self._models, *self._aliases]
            self._draft.refused(item, f"there is no model {quoted(item.text)}{did_you_mean(item.text, names)}")
        return False

    def _try(self, model: str, field: str, name: str) -> bool:
        """Adds one, unless it leads back."""
        found = self._models[model].get(field, [])
        if name not in found:
            if self._reaches(_leads(name, self._models, self._aliases), model):
                return False
            self._models[model][field] = [*found, name]
        return True

    def _reaches(self, start: str | None, end: str) -> bool:
        left, seen = [start], {start}
        while left:
            if (name := left.pop()) == end:
                return True
            model = self._models.get(name or "", {})
            ahead = {_leads(each, self._models, self._aliases) for kind in KINDS for each in model.get(kind, [])}
            left += ahead - seen
            seen |= ahead
        return False
