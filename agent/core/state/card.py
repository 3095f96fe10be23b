# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each GPU, by its UUID and across reboots, and what was done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType

from agent.core.failures.classes import FailureClass
from agent.core.record import dataclass
from agent.core.state.observations import XidSeen


class LeverState(StrEnum):
    """How far it has come to hold a card to what was asked."""

    OFF = "off"
    """Nothing is asked, or what was found before was put back."""
    SETTING = "setting"
    """Asked of nvidia-smi, not yet read back."""
    IN_FORCE = "in-force"
    DEGRADED = "degraded"
    """Set several times and not in force; tried again after a long while."""
    BLOCKED = "blocked"
    """Not supported or not permitted; tried again only when card, driver or settings change."""
    YIELDED = "yielded"
    """Somebody else keeps changing it; left to them for an hour."""


class Cause(StrEnum):
    """Why a limit had to be set again; the words are labels of a metric."""

    START = "start"
    DRIVER_RELOAD = "driver_reload"
    RESET = "reset"
    FOREIGN = "foreign"


NO_REASSERTS: Mapping[Cause, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Attempt:
    """A setting in the making: `action_id` is 0 when none is under way; times in agent time.

    `set_at` is when nvidia-smi said that it is done, 0 before; `why` what it is set for, for the
    sentence that tells of its success, "" for one that nobody needs.
    """

    action_id: int = 0
    asked_at: float = 0.0
    set_at: float = 0.0
    tries: int = 0
    retry_at: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """What any lever remembers of a card."""

    state: LeverState = LeverState.OFF
    why: str = ""
    """The sentence of a state that is not well."""

    attempt: Attempt = field(default_factory=Attempt)


@dataclass(frozen=True, slots=True)
class Cap(Setting):
    """The power limit of a card."""

    asked_watts: float | None = None
    """What agent.toml says."""

    target_watts: float | None = None
    """The same within the card's range, and less what heat takes at present."""

    found_watts: float | None = None
    """What was requested before llmagent first changed it."""

    held_lower_watts: float | None = None
    """The enforced limit where a BMC or the board holds it below the target."""

    foreign_at: tuple[float, ...] = ()
    """The times of the last hour's changes by others."""

    reasserts: Mapping[Cause, int] = field(default_factory=lambda: NO_REASSERTS)
    """How often it was set again, ever."""


@dataclass(frozen=True, slots=True)
class ClockLock(Setting):
    """The locked range of a card's clocks."""

    target_mhz: tuple[int, ...] | None = None
    """The lowest and the highest clock."""

    told: bool = False
    """It was said to be in force."""


@dataclass(frozen=True, slots=True)
class Persistence(Setting):
    """Persistence mode: the driver keeps a card up while no program uses it."""

    off_told: bool = False
    """It was said that it is off and left so."""


class HeatLevel(StrEnum):
    """How hot a card is, by its thresholds."""

    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Heat:
    """The thermal state."""

    level: HeatLevel = HeatLevel.NORMAL
    since: float = 0.0
    """Since when it has this level."""

    next_level: HeatLevel = HeatLevel.NORMAL
    """Another level that begins to show."""

    next_since: float = 0.0
    lowered_to_watts: float | None = None
    """The limit that action "lower_power" has come to; None while it takes nothing."""

    stepped_at: float = 0.0
    """When that limit last moved."""

    too_hot_watts: float | None = None
    """Until `too_hot_until`, limits of this or more are not tried again."""

    too_hot_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """An episode of reduced clocks: why (names of ClockEvents) and since when."""

    reasons: tuple[str, ...]
    since: float
    told: bool = False


@dataclass(frozen=True, slots=True)
class XidRecord:
    """One code on one card: how often, the last time, and the incidents of the last 24 hours.

    Lines of one code within 10 seconds are one incident. Times in seconds since the epoch.
    `unlogged` of the count were told by NVML, and the kernel log had no line of them so far.
    """

    count: int = 0
    last_at: float = 0.0
    incidents: tuple[float, ...] = ()
    unlogged: int = 0


@dataclass(frozen=True, slots=True)
class CardLive:
    """What is only true of the last looks at a card; never stored."""

    throttled_at: float = 0.0
    """When a reason was last seen."""

    umbrella_since: float = 0.0
    worst_celsius: float | None = None
    """What the present episode of throttling has cost at most; None where it is not known."""

    worst_clock_ratio: float | None = None
    """The same: the SM clock as a share of its maximum."""

    worst_tokens_ratio: float | None = None
    """The same: the generation rate as a share of the service's usual one."""

    held_back_since: float = 0.0
    """Since when clocks are low without a reason, whether told or not."""

    cool_since: float = 0.0
    """Since when nothing speaks against giving power back; 0 while something does."""

    upset: Cause | None = None
    """What may have undone settings."""

    upset_at: float = 0.0
    above_lock: int = 0
    """Looks in a row with a clock above the locked range."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """Xids of cards that NVML never showed: when one was told, and how many were not since."""

    told_at: float = 0.0
    left_out: int = 0


class Cure(StrEnum):
    """What makes an ailing card well again; a person does it, never llmagent."""

    RESET = "reset"
    REBOOT = "reboot"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True)
class Ailment:
    """Why a card cannot be relied on, the class of its services' failure, and what to do.

    `seen`: NVML itself shows it, and will show when it is over. `energy_joules` is the card's
    counter at that time, which begins anew when the driver takes the card up again.
    """

    failure: FailureClass
    cure: Cure
    since: float
    why: str
    what_to_do: str
    seen: bool = False
    energy_joules: float | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """All that is remembered of one GPU."""

    uuid: str
    """The name that the card keeps for ever."""

    index: int = 0
    """NVML's, which may shift when a card is lost."""

    name: str = ""
    pci_bus_id: str = ""
    lost_since: float = 0.0
    """0 while it is there."""

    cap: Cap = field(default_factory=Cap)
    """Its power limit."""

    lock: ClockLock = field(default_factory=ClockLock)
    """The range that its clocks are held in."""

    persistence: Persistence = field(default_factory=Persistence)
    """The driver's persistence mode."""

    heat: Heat = field(default_factory=Heat)
    throttle: Throttle | None = None
    hidden_throttle_since: float = 0.0
    """Since when it is busy far below its clocks and gives no reason; 0: it is not."""

    xids: Mapping[int, XidRecord] = field(default_factory=dict)
    """The driver's errors by NVIDIA's code."""

    unconfirmed: tuple[XidSeen, ...] = ()
    """Errors that would hold services, of which only the kernel log has told so far."""

    ailment: Ailment | None = None
    """What a person must do before it can be relied on; None: nothing."""

    live: CardLive = field(default_factory=CardLive)

    @property
    def label(self) -> str:
        """What sentences call it: "GPU 0"."""
        return f"GPU {self.index}"
