"""LiteLLM's `config.yaml` as a configuration of ours, with a report on every line of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from gateway.config.complaints import Complaint, ConfigError, Mark, Review, Steps, spell
from gateway.config.read import parse
from gateway.config.tree import Entries
from gateway.core.secret import Secret
from gateway.migrate import fallbacks, groups, left_out, settings
from gateway.migrate.connection import Params, key_if_none_is_written
from gateway.migrate.draft import Draft
from gateway.migrate.report import Line, Verdict, in_order
from gateway.migrate.rows import read_rows
from gateway.migrate.source import VARIABLE, Setting, is_too_much, variables_in
from gateway.migrate.writing import comment, written

ORDER = ("server", "state", "providers", "models", "aliases", "defaults", "keys")
"""Of the sections, as our configurations have it."""

NOWHERE = Setting((), Mark(), Entries(Mark(), ()))


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a file."""

    text: str
    """A configuration of ours, with comments. It names variables, and holds no secret."""
    report: tuple[Line, ...]
    values: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    """What stood in the file in clear, by the variable that the configuration names instead."""
    exports: tuple[tuple[str, str], ...] = ()
    """The names of these variables, and where each value stands: FILE:LINE:COL."""
    origins: Mapping[str, Mark] = field(default_factory=dict)
    """Where what stands at a path of the configuration comes from."""

    def place(self, path: str) -> Mark:
        """Where in LiteLLM's file that comes from which stands at a path, or what holds it."""
        holders = [origin for origin in self.origins if path == origin or path.startswith((f"{origin}.", f"{origin}["))]
        return self.origins[max(holders, key=len)] if holders else Mark()


def is_litellms(text: str) -> bool:
    """Whether a text is LiteLLM's configuration rather than one of ours."""
    try:
        node = parse(text, Review(""), merges=True)
    except ConfigError:
        return False
    names = {key.text for key, _ in node.entries} if isinstance(node, Entries) else set()
    return "model_list" in names and "providers" not in names


def convert(litellms: str, file: str) -> Converted:
    """The configuration that does the same, and what is different in it. Raises ConfigError for what is not YAML."""
    review = Review(file)
    node = parse(litellms, review, merges=True)
    if not isinstance(node, Entries) or is_too_much(node):
        what = (
            "is too large to be read" if isinstance(node, Entries) else "must be a mapping, such as `model_list: ...`"
        )
        raise ConfigError([Complaint(file, 1, 1, "", what)])
    root = Setting((), Mark(1, 1), node)
    draft = Draft(file, _variables(root))
    _fill(draft, root)
    unread = [Line(file, each.line, each.column, each.path, "refused", each.message) for each in review.complaints]
    report = in_order([*unread, *draft.lines])
    text = _text(draft, report)
    asked = needed(text)
    return Converted(
        text=text,
        report=report,
        values=draft.values,
        exports=tuple(
            (name, f"{file}:{at.mark.line}:{at.mark.column}") for name, at in draft.exports.items() if name in asked
        ),
        origins={spell(path): mark for path, mark in draft.origins.items()},
    )


def _fill(draft: Draft, root: Setting) -> None:
    sections = root.by_key()
    router, litellm = (sections.get(name, NOWHERE).by_key() for name in ("router_settings", "litellm_settings"))
    wanted = groups.Wanted()
    for name in settings.SECTIONS:
        if name in sections:
            settings.read_section(draft, wanted, sections[name], router if name == "litellm_settings" else {})
    settings.write_redis(draft, router, litellm.get("cache_params", NOWHERE).by_key())
    model_list = sections.get("model_list", NOWHERE)
    rows = read_rows(draft, model_list, _credentials(draft, sections.get("credential_list", NOWHERE)))
    groups.write(draft, rows, wanted)
    if not rows:
        draft.refused(model_list if model_list is not NOWHERE else root, "holds no model that can be served")
    if "model_group_alias" in router:
        fallbacks.write_aliases(draft, router["model_group_alias"])
    named = {row.by_key()["model_name"].text for row in model_list.items() if "model_name" in row.by_key()}
    lists = {**litellm, **router}
    fallbacks.write(draft, lists, named - draft.content.get("models", {}).keys())
    groups.write_attempts(draft, wanted)
    for name, words in left_out.TOP.items():
        if name in sections:
            draft.left_out(sections[name], words)
    if "guardrails" in sections:
        settings.LITELLM["guardrails"](draft, wanted, sections["guardrails"])
    if "include" in sections:
        draft.refused(sections["include"], left_out.REFUSED["include"])
    _environment(draft, sections.get("environment_variables", NOWHERE))
    _tell_rest(draft, root, {path[:length] for path in draft.told for length in range(len(path))})


def _variables(root: Setting) -> Iterator[str]:
    """Those that something in the file is taken from already, said or not."""
    yield from variables_in(root.node)
    sections = root.by_key()
    yield from (setting.key for setting in sections.get("environment_variables", NOWHERE).settings())
    for row in sections.get("model_list", NOWHERE).items():
        yield from key_if_none_is_written(row.by_key().get("litellm_params", NOWHERE).by_key())


def _credentials(draft: Draft, setting: Setting) -> dict[str, Params]:
    found: dict[str, Params] = {}
    for item in setting.items():
        entry = item.by_key()
        if "credential_name" in entry and "credential_values" in entry:
            found[entry["credential_name"].text] = entry["credential_values"].by_key()
            draft.same(entry["credential_name"], "its values are those of the providers of the rows that name it")
    return found


def _environment(draft: Draft, setting: Setting) -> None:
    """What the file puts into the environment has to be there from now on, as far as anything here asks for it."""
    asked = set(needed(written(draft.content, {})))
    for variable in setting.settings():
        name, text = variable.key, variable.text
        if name not in asked:
            draft.unsupported(variable, "nothing here asks for it")
        elif text.startswith(VARIABLE):
            draft.changed(variable, f"set {name} to what {text.removeprefix(VARIABLE)} holds")
        else:
            draft.given(variable, name, text)
            draft.changed(variable, f"stands in the file; put it into the variable {name}")


def _tell_rest(draft: Draft, setting: Setting, holders: set[Steps]) -> None:
    """What nobody has read is left out. `holders` are ways on which something has been told."""
    for each in [*setting.settings(), *setting.items()]:
        if each.path in draft.told:
            continue
        if each.path in holders:
            _tell_rest(draft, each, holders)
        else:
            draft.left_out(each, left_out.LITELLM.get(each.key, "has no counterpart here"))


def needed(text: str) -> list[str]:
    """The variables that a configuration of ours cannot do without, or would take a value from."""
    return sorted(set(re.findall(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)", text)))


def _text(draft: Draft, report: Iterable[Line]) -> str:
    content = {name: draft.content[name] for name in ORDER if name in draft.content} or {"providers": {}}
    body = written(content, draft.comments)
    head = comment(f"Written by `gateway import litellm` from {draft.file}. Remarks say what is not as it was.")
    if names := needed(body):
        head += comment(f"It asks for these variables: {', '.join(names)}.")
    missing = [line for line in report if line.verdict in get_args(Verdict)[2:]]
    tail = [*comment("Left out:")] if missing else []
    for line in missing:
        tail += comment(f"line {line.line}: {line.path}: {line.message}")
    return "\n".join([*head, "", body.rstrip("\n"), *([""] if tail else []), *tail, ""])
