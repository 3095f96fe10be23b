# SPDX-License-Identifier: Apache-2.0
"""pynvml on the simulated library, whose functions fail or answer oddly: by a seed, all of them.

Run as a program (pynvml loads a library once in a process's life), it prints each case in which the
adapter raised anything but its own error, or gave what cannot be shown to everybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

from agent.core.codec import encode
from agent.core.plain import plain_values
from agent.host.nvidia.calls import NvmlError
from agent.host.nvidia.nvml import Nvml

CODES = (*range(1, 30), 999, 1000, 2**31 - 1)
NUMBERS = (-1, 0, 1, 65, 2**31, 2**32 - 1, 2**63, 2**64 - 2, 2**64 - 1)
TEXTS = ("", "\x1b[31m\x00\n" * 9, "9" * 80, "\ud800", "Z" * 10_000)
KINDS = (-1, *range(8), 2**31 - 1)
"""nvmlValueType_t has 0 to 6."""
ANSWERS = ("number", "text", "none", "many")


class Odd:
    """The module pynvml; `answer` is asked of each call once its real answer is known."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.called: set[str] = set()
        self.answer: Callable[[str, Any], Any] = lambda _name, value: value

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if not name.startswith("nvml") or not callable(function):
            return function

        def call(*args: Any) -> Any:
            self.called.add(name)
            return self.answer(name, function(*args))

        return call


def odd(value: Any, made: random.Random) -> Any:
    """Return a value of the same shape with odd numbers and texts in it."""
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int):
        return made.choice(NUMBERS)
    if isinstance(value, float):
        return made.choice((float("nan"), float("inf"), -1e308))
    if isinstance(value, str | bytes):
        text = made.choice(TEXTS)
        return text if isinstance(value, str) else text.encode("utf-8", "replace")
    if isinstance(value, list | tuple):
        times = made.choice((0, 1, 500))
        return type(value)([odd(part, made) for part in value] * times)
    if isinstance(value, ctypes.Array):
        for part in value:
            part.valueType, part.nvmlReturn = made.choice(KINDS), made.choice((0, 0, *CODES))
            part.value.ullVal = made.choice(NUMBERS) & 2**64 - 1
        return value
    for name, _ in getattr(value, "_fields_", ()):
        with contextlib.suppress(TypeError, AttributeError):
            setattr(value, name, odd(getattr(value, name), made))
    return value


def broken(module: Odd, oddly: dict[str, Callable[[Any], Any]]) -> str:
    """Return what went wrong as all was read three times with such answers, "" for nothing."""
    module.answer = lambda name, value: oddly.get(name, lambda same: same)(value)
    nvml = Nvml()
    try:
        for _ in range(3):
            with contextlib.suppress(NvmlError):
                nvml.open()
                seen = nvml.look(medium=True, slow=True, processes=True)
                shown = [encode(gpu) for gpu in seen.gpus]
                for gpu in shown:  # tables whose keys are pairs are shown as labels of metrics
                    gpu["ecc_errors"] = [list(map(str, item)) for item in gpu["ecc_errors"].items()]
                if shown != plain_values(json.loads(json.dumps(shown, allow_nan=False))):
                    return "a text is not plain"
        nvml.close()
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return f"{type(error).__name__}: {error}"[:300]
    return ""


def cases(module: Odd, made: random.Random, each: int) -> Iterator[dict[str, Any]]:
    """Give which functions answer how: each function by itself, then several at once."""

    def fails(code: int) -> Callable[[Any], Any]:
        def answer(_value: Any) -> Any:
            raise module.NVMLError(code)

        return answer

    def wrong(seed: int) -> Callable[[Any], Any]:
        return lambda value: odd(value, random.Random(seed))

    def one() -> Callable[[Any], Any]:
        return fails(made.choice(CODES)) if made.random() < 0.4 else wrong(made.getrandbits(32))

    names = sorted(module.called)
    for name in names:
        yield from ({name: one()} for _ in range(each))
    for _ in range(4 * each):
        yield {name: one() for name in made.sample(names, 4)}


def main() -> None:
    """Print JSON: how many cases were tried, and what of them broke."""
    seed, each = int(sys.argv[1]), int(sys.argv[2])
    module = Odd(importlib.import_module("pynvml"))
    sys.modules["pynvml"] = module  # type: ignore[assignment]
    found = {"plain": broken(module, {})}
    tried = 0
    for case in cases(module, random.Random(seed), each):
        tried += 1
        if said := broken(module, case):
            found[f"{tried} {sorted(case)}"] = said
    print(json.dumps({"tried": tried, "found": {name: why for name, why in found.items() if why}}))


if __name__ == "__main__":
    main()
