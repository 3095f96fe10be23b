# SPDX-License-Identifier: Apache-2.0
"""The failure classes come from data, so that no type checker knows their names: this test does."""

from __future__ import annotations

import ast

from agent.core.failures.classes import FailureClass
from tests.project.test_house_rules import REPO, python_files


def test_every_failure_class_that_the_code_names_is_one() -> None:
    wrong = []
    for path in python_files():
        text = path.read_text()
        if "FailureClass" not in text:
            continue
        tree = ast.parse(text)
        names = {"FailureClass"}
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(names=imported):
                    names |= {a.asname for a in imported if a.name == "FailureClass" and a.asname}
                case ast.Assign(targets=[ast.Name(id=short)], value=ast.Name(id="FailureClass")):
                    names.add(short)
                case _:
                    pass
        wrong += [
            f"{path.relative_to(REPO)}:{node.lineno}: {node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in names
            and not hasattr(FailureClass, node.attr)
        ]
    assert wrong == []
