# SPDX-License-Identifier: Apache-2.0
"""The engines of a group, as vLLM's own span hosts: they meet once, and are of no use apart.

What was seen of vLLM 0.32: all wait for all at their start; nobody is taken in later; an idle head
notices nothing of a rank that died, and a rank nothing of its head, ever; the next step of a split
model ends the head where the connection was closed, and hangs where it was cut; of a rank of a
data-parallel service that died nothing is ever said, and what it was given hangs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from agent.core.failures.classes import FailureClass
from tests.nights.dooms import doom_of
from tests.nights.engine import Run
from tests.nights.groups.cables import Cables

if TYPE_CHECKING:
    from tests.nights.groups.host import Rank

HEAD = 0
ECHO_SECONDS = 1.0
"""From a step that finds a closed connection to the engine's end."""
STEP_SECONDS = 300.0
"""After so long in one step a split model's engine gives up."""
REFUSED_SECONDS = 5.0
"""From the head's end to that of a rank that has not met the others yet."""

Kind = Literal["split", "replicas"]


@dataclass
class Crew:
    """Runs that have met; nobody joins them later."""

    runs: dict[int, Run]
    loaded: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)

    @property
    def serves(self) -> bool:
        """Whether the head takes requests."""
        return HEAD not in self.dead and self.runs[HEAD].ready


class Engines:
    """All engines of the group; `closes`: the death of one is seen by those that compute with it.

    gloo and sockets close a connection; NCCL over InfiniBand hangs, and spins.
    """

    def __init__(self, kind: Kind, cables: Cables, *, closes: bool) -> None:
        self.kind = kind
        self.closes = closes
        self.ranks: dict[int, Rank] = {}
        self._cables = cables
        self._waiting: dict[int, Run] = {}
        self._met: dict[int, Run] = {}
        """The head that each of those who wait has reached."""
        self._crews: list[Crew] = []

    # --- who is whose ---

    def crew_of(self, number: int) -> Crew | None:
        """Return the crew of a host's run; None while it has none."""
        run = self.ranks[number].run
        return next((crew for crew in self._crews if run and crew.runs[number] is run), None)

    def is_whole(self, crew: Crew) -> bool:
        """Tell whether all of it lives and can reach its head."""
        joined = all(self._cables.joined(HEAD, number) for number in crew.runs if number != HEAD)
        return not crew.dead and joined

    def serve(self) -> bool:
        """Tell whether every request is answered."""
        return any(
            crew.serves and crew.runs[HEAD].alive and self.is_whole(crew) for crew in self._crews
        )

    # --- starts ---

    def join(self, number: int, run: Run) -> None:
        """Wait for the others; all go on once everybody is there and reaches the head."""
        self._waiting[number] = run
        self._look_for_all()

    def _look_for_all(self) -> None:
        head = self._waiting.get(HEAD)
        for number in self._waiting:
            if head is not None and number not in self._met and self._cables.opens(number, HEAD):
                self._met[number] = head
        if head is None or any(self._met.get(number) is not head for number in self.ranks):
            return
        crew = Crew(dict(self._waiting))
        self._waiting.clear()
        self._met.clear()
        self._crews.append(crew)
        for number, run in crew.runs.items():
            self.ranks[number].go_on(run)

    def loaded(self, number: int) -> None:
        """A rank has loaded its part; the head takes requests once all have."""
        crew = self.crew_of(number)
        assert crew is not None
        crew.loaded.add(number)
        if crew.loaded == set(self.ranks):
            self.ranks[HEAD].takes_requests(crew.runs[HEAD])
        elif crew.dead:
            self._feels(crew)

    # --- ends ---

    def gone(self, number: int, run: Run) -> None:
        """A host's run has ended, in whatever way."""
        self._crews = [crew for crew in self._crews if len(crew.dead) < len(crew.runs)]
        if self._waiting.get(number) is run:
            del self._waiting[number]
            self._met.pop(number, None)
            for other, head in list(self._met.items()):
                if head is run:
                    self._refuses(other)
            return
        for crew in self._crews:
            if crew.runs.get(number) is run:
                crew.dead.add(number)
                self._feels(crew)

    def _refuses(self, number: int) -> None:
        """A rank that waits with the head that is gone hears so, where the cable tells it."""
        run = self._waiting[number]
        if self._cables.joined(number, HEAD):
            self.ranks[number].dies_later(run, REFUSED_SECONDS, doom_of(FailureClass.PEER_LOST))

    def _feels(self, crew: Crew) -> None:
        """What the living of a crew do about one that is dead: at once where there is load."""
        if HEAD in crew.dead:
            return
        head = crew.runs[HEAD]
        if not head.ready or head.rate > 0:
            self.asked(head)

    # --- requests ---

    def asked(self, head: Run) -> None:
        """The head was given a request, and each rank has its part in it."""
        crew = next((c for c in self._crews if c.runs[HEAD] is head and HEAD not in c.dead), None)
        if crew is None or self.is_whole(crew):
            return
        rank = self.ranks[HEAD]
        if self.kind == "replicas":
            rank.hangs(head, half=True)
        elif crew.dead and self.closes:
            rank.dies_later(head, ECHO_SECONDS, doom_of(FailureClass.NCCL_ERROR))
        else:
            rank.hangs(head, half=False)
            rank.dies_later(head, STEP_SECONDS, doom_of(FailureClass.NCCL_TIMEOUT), if_stuck=True)

    def is_unacknowledged(self, number: int) -> bool:
        """Tell whether what the head has sent to a host of its crew never arrived there."""
        crew, head = self.crew_of(HEAD), self.ranks[HEAD].run
        waits = crew is not None and head is not None and (head.stuck or head.half_stuck)
        return waits and not (self._cables.joined(HEAD, number) and self.ranks[number].up)

    def spins(self, number: int) -> bool:
        """Tell whether what runs on a host waits at full speed for others, who may be gone."""
        run = self.ranks[number].run
        if self.closes or run is None or not (run.stuck or run.half_stuck):
            return False
        crew = self.crew_of(number)
        return crew is not None and not self.is_whole(crew)

    def cables_changed(self) -> None:
        """Something was cut or mended."""
        for number, rank in self.ranks.items():
            if number == HEAD or self._cables.opens(number, HEAD):
                rank.blind_since = None
            elif rank.blind_since is None:
                rank.blind_since = rank.clock.now
        self._look_for_all()
        for crew in self._crews:
            head = crew.runs[HEAD]
            if HEAD in crew.dead:
                continue
            if not self.is_whole(crew):
                self._feels(crew)
            elif head.stuck or head.half_stuck:
                self.ranks[HEAD].moves_again(head)
