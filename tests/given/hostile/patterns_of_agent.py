# SPDX-License-Identifier: Apache-2.0
"""Every regular expression in the agent's own code, and how it is used; found in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.rig.paths import REPO

METHODS = frozenset({"match", "fullmatch", "search", "sub", "subn", "findall", "finditer", "split"})
COMPILES = METHODS | {"compile"}
STANDS_FOR = "ab"
"""What is put where a pattern is made of other text, which must be escaped or a word itself."""


MADE_OF_DATA = {
    r"agent.core.diagnosis.carried.carriers: re.compile('\\d{1,20}'.join(parts))": (
        r"a\d{1,20}a\d{1,20}\ \|",
    ),
    "agent.core.patterns: re.compile(text)": (),
    "agent.core.patterns: re.compile(bounded(text))": (),
    "agent.host.probes.packages: re.match(pattern, name)": (),
}
"""Patterns that are made of data, with what stands for them: those of our own data files have tests
of their own, and those of needrestart's configuration are root's."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pattern, the methods that are called on it, and where it stands."""

    where: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each module of the agent, by its name."""
    files = sorted((REPO / "agent").rglob("*.py"))
    return {_module_of(file): ast.parse(file.read_text()) for file in files}


def patterns() -> Iterator[Found]:
    """Yield them all. A pattern that cannot be known here raises LookupError with its place."""
    for module, tree in trees().items():
        named = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        names = {id(call): name for name, call in named.items()}
        for call in _calls(tree):
            name = names.get(id(call), "")
            where = f"{module}.{name or call.lineno}"
            assert isinstance(call.func, ast.Attribute)
            if call.func.attr != "compile":
                used = frozenset({call.func.attr})
            else:
                used = _uses(module, name) or _methods_in(module, frozenset(named))
            yield from _found(module, call, where, used)


def _module_of(file: Path) -> str:
    parts = file.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="re"):
                raise LookupError(f"import re as a whole, so that its patterns are found: {node}")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=attr)) if (
                attr in COMPILES
            ):
                yield node


def _uses(module: str, name: str) -> frozenset[str]:
    """Return the methods called on that name in its module and where it is imported."""
    places = (module, *_imports().get((module, name), ()))
    return frozenset(method for place in places for method in _called()[place].get(name, ()))


@cache
def _called() -> dict[str, dict[str, set[str]]]:
    """Return the methods of patterns that are called on each name, by module."""
    found: dict[str, dict[str, set[str]]] = {module: {} for module in trees()}
    for module, tree in trees().items():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attr) if attr in METHODS:
                    found[module].setdefault(name, set()).add(attr)
    return found


@cache
def _imports() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return which modules import a name from a module."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    key = (node.module, alias.name)
                    found[key] = (*found.get(key, ()), module)
    return found


def _methods_in(module: str, named: frozenset[str]) -> frozenset[str]:
    """Return the methods of patterns called in a module on others than these names."""
    return frozenset(
        node.func.attr
        for node in ast.walk(trees()[module])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in METHODS - {"split"}
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id in {"re", *named})
    )


def _found(module: str, call: ast.Call, where: str, used: frozenset[str]) -> Iterator[Found]:
    made = ast.unparse(call)
    if f"{module}: {made}" in MADE_OF_DATA:
        for text in MADE_OF_DATA[f"{module}: {made}"]:
            yield Found(where, re.compile(text), used)
    else:
        yield Found(where, _compiled(module, call, where), used)


def _compiled(module: str, call: ast.Call, where: str) -> re.Pattern[Any]:
    space = vars(import_module(module))
    try:
        value = _evaluated(call.args[0], space)
        flags = [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "compile":
            flags += call.args[1:]
        return re.compile(value, *(_evaluated(flag, space) for flag in flags))
    except (NameError, TypeError) as error:
        raise LookupError(f"{where}: of what is the pattern made?") from error


def _evaluated(node: ast.expr, space: dict[str, Any]) -> Any:
    filled = ast.Expression(_Filled(space).visit(node))
    return eval(compile(ast.fix_missing_locations(filled), "pattern", "eval"), dict(space))


class _Filled(ast.NodeTransformer):
    """Puts a word for what is known only where the pattern is made."""

    def __init__(self, space: dict[str, Any]) -> None:
        self._space = space

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        known = isinstance(node.value, ast.Name) and node.value.id in self._space
        return node if known else ast.Constant(STANDS_FOR)
