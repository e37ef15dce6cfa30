"""The rules of the house that a machine can hold. Import contracts are in `pyproject.toml`, for `lint-imports`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "gateway").rglob("*.py"))
FOLDERS = ("tests", "bench", "prices")
EVERYTHING = [*PACKAGE, *(file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py")))]
LONGEST_FILE = 400
LONGEST_FUNCTION = 40

DANGEROUS = frozenset({"eval", "exec", "compile", "__import__"})
"""Nothing that comes from outside may become code."""

UNSAFE = frozenset({"ctypes", "jinja2", "marshal", "pickle", "pickletools", "runpy", "shelve", "subprocess"})
"""What makes code, or commands, of data. Workers are started by `asyncio`, in one place."""


def named(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files, ids=[str(file.relative_to(ROOT)) for file in files])


@named(EVERYTHING)
def test_a_file_can_be_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_FILE


@named(PACKAGE)
def test_a_function_fits_on_a_screen(file: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@named(PACKAGE)
def test_a_module_says_what_it_is(file: Path) -> None:
    tree = ast.parse(file.read_text())
    assert not tree.body or ast.get_docstring(tree)


@named(PACKAGE)
def test_nothing_from_outside_becomes_code(file: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert DANGEROUS.isdisjoint(call.id for call in calls if isinstance(call, ast.Name))
    assert UNSAFE.isdisjoint(_imported(file))


def _imported(file: Path) -> set[str]:
    """The packages that a module names."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@named(PACKAGE)
def test_no_vendor_is_known_by_name_outside_its_row(file: Path) -> None:
    assert not re.search(r"vendor(\.name)? *(==|!=|in) *[(\"']", file.read_text())
