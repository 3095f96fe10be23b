# SPDX-License-Identifier: Apache-2.0
"""What a source file can say: every raise, assertion and alarming log call, read with `ast`.

A template is the text with `⟦name⟧` where a value stands; the name is that of the expression.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

RAISE = "raise"
ASSERT = "assert"
CHECK = "check"
"""A TORCH_CHECK of C++ or CUDA source: reaches the log as RuntimeError, without a frame."""

ALARMS = frozenset({"error", "warning", "exception", "critical", "warning_once", "error_once"})
MAX_TEMPLATE = 240

_SPEC = re.compile(r"%(?:\((\w+)\))?[-+ #0]*[\d*]*(?:\.[\d*]+)?([sdrfgixXe%])")
_BRACES = re.compile(r"\{(\w*)(?:![rs])?(?::[^{}]*)?\}")
_CHECK = re.compile(r"\b(?:TORCH_CHECK\w*|STD_TORCH_CHECK\w*)\s*\(")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a source: `module` is its path, `function` the innermost function's name.

    `kind` is raise, assert, check or the logger's method; `name` the exception ("" in a log call).
    `abstract` marks a method that only refuses: a subclass replaces it.
    """

    module: str
    function: str
    kind: str
    name: str
    template: str
    abstract: bool = False

    @property
    def ends(self) -> bool:
        """Whether it is thrown rather than logged."""
        return self.kind in (RAISE, ASSERT, CHECK)


@dataclass(slots=True)
class _Scope:
    name: str
    abstract: bool = False
    known: dict[str, str] = field(default_factory=dict)


def texts_of(path: str, source: str) -> Iterator[Text]:
    """Give the texts of one file, in its order; nothing of a file that does not parse."""
    if not path.endswith(".py"):
        yield from _checks(path, source)
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    scope = _Scope("<module>")
    yield from _walk(tree.body, path, scope)


def _walk(body: list[ast.stmt], path: str, scope: _Scope) -> Iterator[Text]:
    for node in body:
        yield from _statement(node, path, scope)


def _statement(node: ast.stmt, path: str, scope: _Scope) -> Iterator[Text]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        inner = _Scope(node.name, _only_refuses(node), dict(scope.known))
        yield from _walk(node.body, path, inner)
        return
    if isinstance(node, ast.ClassDef):
        yield from _walk(node.body, path, _Scope(node.name, known=dict(scope.known)))
        return
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        _remember(node, scope)
    if isinstance(node, ast.Raise):
        yield from _raised(node, path, scope)
    elif isinstance(node, ast.Assert):
        template = template_of(node.msg, scope.known) if node.msg is not None else ""
        yield Text(path, scope.name, ASSERT, "AssertionError", template)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _called(node.value, path, scope)
    for name in ("body", "orelse", "finalbody"):
        yield from _walk(getattr(node, name, None) or [], path, scope)
    for handler in getattr(node, "handlers", None) or []:
        yield from _walk(handler.body, path, scope)
    for case in getattr(node, "cases", None) or []:
        yield from _walk(case.body, path, scope)


def _only_refuses(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    real = [
        s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
    ]
    return len(real) == 1 and isinstance(real[0], ast.Raise)


def _remember(node: ast.Assign | ast.AugAssign | ast.AnnAssign, scope: _Scope) -> None:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if not isinstance(target, ast.Name) or node.value is None:
        return
    text = template_of(node.value, scope.known)
    if not text:
        return
    if isinstance(node, ast.AugAssign):
        text = scope.known.get(target.id, "") + text
    scope.known[target.id] = text


def _raised(node: ast.Raise, path: str, scope: _Scope) -> Iterator[Text]:
    thrown = node.exc
    arguments: list[ast.expr] = []
    if isinstance(thrown, ast.Call):
        arguments = [*thrown.args, *(k.value for k in thrown.keywords if k.arg == "message")]
        thrown = thrown.func
    name = _name(thrown)
    if not name[:1].isupper():
        return
    template = template_of(arguments[0], scope.known) if arguments else ""
    abstract = scope.abstract and name == "NotImplementedError"
    yield Text(path, scope.name, RAISE, name, template, abstract)


def _called(call: ast.Call, path: str, scope: _Scope) -> Iterator[Text]:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in ALARMS or not call.args:
        return
    if "log" not in _name(function.value).lower():
        return
    template = template_of(call.args[0], scope.known)
    names = iter(call.args[1:])

    def filled(found: re.Match[str]) -> str:
        if found.group(2) == "%":
            return "%"
        value = next(names, None)
        return f"⟦{found.group(1) or (_last(value) if value is not None else '')}⟧"

    kind = function.attr.removesuffix("_once")
    yield Text(path, scope.name, kind, "", _SPEC.sub(filled, template)[:MAX_TEMPLATE])


def template_of(node: ast.expr, known: dict[str, str]) -> str:
    """Return the text that an expression gives, values as `⟦name⟧`; "" where it gives none."""
    return _text(node, known).strip()[:MAX_TEMPLATE]


def _text(node: ast.expr, known: dict[str, str]) -> str:
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr(values=values):
            return "".join(
                str(v.value) if isinstance(v, ast.Constant) else f"⟦{_last(v)}⟧" for v in values
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = _text(left, known), _text(right, known)
            return (first or f"⟦{_last(left)}⟧") + (second or f"⟦{_last(right)}⟧")
        case ast.BinOp(left=left, op=ast.Mod()):
            return _SPEC.sub(lambda m: f"⟦{m.group(1) or ''}⟧", _text(left, known))
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            return _BRACES.sub(lambda m: f"⟦{m.group(1)}⟧", _text(value, known))
        case ast.Call(func=ast.Attribute(value=value, attr="join"), args=[ast.List(elts=parts)]):
            return _text(value, known).join(_text(part, known) for part in parts)
        case ast.Call(func=ast.Attribute(value=value, attr="strip")):
            return _text(value, known)
        case ast.Call(func=ast.Name(id="dedent" | "str"), args=[inner, *_]):
            return _text(inner, known)
        case ast.IfExp(body=body):
            return _text(body, known)
        case ast.Name(id=name):
            return known.get(name, "")
        case ast.Tuple(elts=[first, *_]):
            return _text(first, known)
    return ""


def _last(node: ast.AST) -> str:
    """Return the last name of an expression: what the value is of."""
    match node:
        case ast.FormattedValue(value=value):
            return _last(value)
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case ast.Call(func=function, args=arguments):
            name = _last(function)
            return _last(arguments[0]) if arguments and name in ("len", "repr", "str") else name
        case ast.Subscript(value=value):
            return _last(value)
        case ast.BinOp(left=left):
            return _last(left)
    return ""


def _name(node: ast.expr | None) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _name(function)
    return ""


def _checks(path: str, source: str) -> Iterator[Text]:
    """Give the texts of TORCH_CHECK: string literals joined, values between them."""
    for found in _CHECK.finditer(source):
        arguments = _arguments(source, found.end())
        strings = [a for a in arguments[1:] if _STRING.search(a)]
        if not strings:
            continue
        parts = []
        for argument in arguments[arguments.index(strings[0]) :]:
            inside = "".join(m.group(1) for m in _STRING.finditer(argument))
            parts.append(inside if inside else "⟦value⟧")
        template = "".join(parts).replace("\\n", " ").replace('\\"', '"')
        yield Text(path, "", CHECK, "RuntimeError", template.strip()[:MAX_TEMPLATE])


def _arguments(source: str, start: int) -> list[str]:
    """Split the arguments of a C++ call that begins at `start`, at most 4,000 characters long."""
    depth, quoted, begin = 0, False, start
    arguments: list[str] = []
    at = start
    while at < min(len(source), start + 4000):
        letter = source[at]
        if quoted:
            at += letter == "\\"
            quoted = letter != '"'
        elif letter == '"':
            quoted = True
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            if depth == 0:
                arguments.append(source[begin:at])
                return arguments
            depth -= 1
        elif letter == "," and depth == 0:
            arguments.append(source[begin:at])
            begin = at + 1
        at += 1
    return arguments
