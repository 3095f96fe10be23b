# SPDX-License-Identifier: Apache-2.0
"""Who can reach whom: cables that are cut, in one direction or both."""

from __future__ import annotations

from collections.abc import Iterable


class Cables:
    """What is lost between hosts, by their numbers; faults may lie one upon the other."""

    def __init__(self) -> None:
        self._lost: list[frozenset[tuple[int, int]]] = []
        self._refused: list[frozenset[tuple[int, int]]] = []

    def lose(self, pairs: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Let all vanish that the first of each pair sends to the second; to be given to mend."""
        self._lost.append(lost := frozenset(pairs))
        return lost

    def refuse(self, pairs: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Let the first of each pair open no connection to the second; to be given to mend."""
        self._refused.append(refused := frozenset(pairs))
        return refused

    def mend(self, fault: frozenset[tuple[int, int]]) -> None:
        """End one fault."""
        for faults in (self._lost, self._refused):
            if fault in faults:
                faults.remove(fault)
                return

    def joined(self, one: int, other: int) -> bool:
        """Tell whether a connection that is there carries anything: it needs both directions."""
        both = {(one, other), (other, one)}
        return not any(both & lost for lost in self._lost)

    def opens(self, one: int, other: int) -> bool:
        """Tell whether the first can open a connection to the second."""
        refused = any((one, other) in refused for refused in self._refused)
        return not refused and self.joined(one, other)

    @property
    def whole(self) -> bool:
        """Whether nothing is lost."""
        return not self._lost and not self._refused
