# SPDX-License-Identifier: Apache-2.0
"""`dataclass` of the standard library, with methods that its classes share.

The daemon has 300 dataclasses. The standard library compiles six methods for each, and those that
refuse a change hold on to the class as it was before it got its slots: 17 KiB for seven attributes
(CPython 3.11). Here comparing, hashing, showing and refusing are written once: 12 KiB, which makes
1.4 MiB of the daemon. Everything else, `__init__` and `__slots__` too, is the standard library's.
"""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(kind=None, /, *, frozen=False, slots=False, eq=True, order=False):
        """Make a class a dataclass; the options mean what they mean in the standard library."""

        def made_of(kind):
            made = dataclasses.dataclass(
                frozen=frozen, slots=slots, eq=order, order=order, repr=False
            )(kind)
            if eq:
                compared = [f.name for f in dataclasses.fields(made) if f.compare]
                made.__compared__ = _values_of(compared or ["__class__"])
                made.__eq__ = _equals
                made.__hash__ = _hash if frozen else None
            if slots and "__weakref__" in vars(made):
                # Copied from the class without slots, which it would keep; nothing can use it.
                del made.__weakref__
            if frozen:
                made.__setattr__ = _refuse_to_set
                made.__delattr__ = _refuse_to_delete
            made.__repr__ = _shown
            return made

        return made_of if kind is None else made_of(kind)


def _values_of(names: list[str]) -> attrgetter[tuple[Any, ...]]:
    """Return what gives the values of these attributes as a tuple."""
    # Of one name it would give no tuple, and only a tuple holds NaN for equal to itself.
    return attrgetter(*names, *names) if len(names) == 1 else attrgetter(*names)


def _equals(self: Any, other: object) -> object:
    values_of = self.__compared__
    if other.__class__ is not self.__class__:
        return NotImplemented
    return values_of(self) == values_of(other)


def _hash(self: Any) -> int:
    return hash(self.__compared__(self))


@recursive_repr()
def _shown(self: Any) -> str:
    shown = (f for f in dataclasses.fields(self) if f.repr)
    values = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in shown)
    return f"{self.__class__.__qualname__}({values})"


def _refuse_to_set(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
