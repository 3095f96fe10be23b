# SPDX-License-Identifier: Apache-2.0
"""Where an exception was thrown, as data, and what follows from it.

A rule of places.toml claims exceptions by their `words`, by the `names` of their types or by the
`modules` of the frame that threw them; what is given must all agree. A rule with words takes its
modules from any frame of the traceback; with a `thrower`, the frame that threw, it tells no more
than that frame does. Rules with words are tried first, in the order of the files, then those with
names, then modules from the innermost frame out. An exception whose name is a library's own is that
library's word: rules on what vLLM's own modules say do not claim it.

Which class is meant is said in CONTRIBUTING.md: what cures it, asked in an order of ten questions,
from packages and options by quantization, model and weights to kernels and vLLM's own books.

What an engine that serves dies of is no fault of its files, with which it came up, nor of its
settings where only a frame says so: such a class is `engine-bug` then, unless the rule names one
for serving in `by_phase`. Nor is a class told whose remedy does harm where it is wrong, if a rule
has no proof of it (rules.py): that is an `engine-bug` of which is said what is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.core.diagnosis.placement.frames import exception_name
from agent.core.diagnosis.placement.rules import UNPROVED_ADVICE, PlaceRule
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.record import dataclass

MAX_WORDS = 2_000
"""Characters of an exception that are looked at."""

_A_FUNCTION = 1_000
"""A function's name (":load_weights") tells more than any module."""

_ANYWHERE = 500
"""So does a part of a path ("*/ops/") more than where the path begins."""

_MORE = {":": _A_FUNCTION, "*": _ANYWHERE}

OF_A_PACKAGE = "package-of-its-own"
"""The rule of an exception that a package threw which is neither vLLM's nor known here."""

PACKAGE_ADVICE = (
    "{0} is no code of vLLM's own: a package that it uses, or a plugin. See what it says, install "
    "the release of it that this vLLM asks for, or start without a plugin (VLLM_PLUGINS names what "
    "is loaded)."
)

_AT_THIS_TIME = 0.5
"""A rule for the phase at hand is taken before one for any phase, the modules being equal."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What an exception's place says: `rule` decided, `frame` threw it ("" when none was seen).

    `failure` is None where the place is known but its class is not. `by_words` is true where the
    exception's own words decided, which is more than its name or a frame alone tells.
    """

    rule: str
    what: str
    failure: FailureClass | None
    exception: str
    frame: str
    by_words: bool
    advice: str
    switches: tuple[str, ...]
    worded: bool = False
    """The rule knows the words, be it only of one thrower."""

    refusal: bool = False
    """It is the reason that pydantic prints below its headline."""

    unproved: bool = False
    """The place alone is too little to say what is at fault."""

    @property
    def sentence(self) -> str:
        """Return "triton.X in the attention kernels (vllm/a.py, in f)"."""
        where = f" ({self.frame.replace(':', ', in ')})" if self.frame else ""
        return f"{self.exception} in {self.what}{where}"

    @property
    def fingerprint(self) -> str:
        """Return what is the same when the same exception comes from the same place again."""
        return f"{self.exception}@{self.frame or self.rule}"


class Places:
    """All rules of places.toml."""

    def __init__(self, rules: Iterable[PlaceRule] = ()) -> None:
        self.rules = tuple(rules)
        self._worded = tuple(r for r in self.rules if r.words is not None)
        self._named = tuple(r for r in self.rules if r.words is None and r.names)
        self._libraries = tuple(r for r in self._named if not r.modules)
        self._framed = tuple(r for r in self.rules if r.words is None and not r.names)

    def place(
        self, text: str, frames: Sequence[str], phase: EnginePhase | None = None
    ) -> Placed | None:
        """Place an exception's line, "NAME: WORDS", by its frames, outermost first.

        A frame is "module/path.py:function". None where nothing is known of it.
        """
        name = exception_name(text)
        thrown = self._thrown_from(frames, phase)
        innermost = thrown or (frames[-1] if frames else "")
        foreign = any(name.startswith(rule.names) for rule in self._libraries)
        for rule in (*self._worded, *self._named):
            if foreign and rule.thrower and rule.words is not None:
                continue
            if rule.words is not None and rule.words.search(text, 0, MAX_WORDS) is None:
                continue
            if rule.names and not name.startswith(rule.names):
                continue
            if rule.modules and not any(f.startswith(rule.modules) for f in frames):
                continue
            if rule.thrower and not any(_is_in(innermost, module) for module in rule.thrower):
                continue
            if rule.functions and not rule.functions.fullmatch(innermost.rpartition(":")[2]):
                continue
            if rule.phases and phase not in rule.phases:
                continue
            failure = rule.class_of(name, phase)
            if failure is not None and rule.proves(failure, name):
                by_words = rule.words is not None and not rule.thrower
                return _placed(rule, failure, name, innermost, by_words=by_words)
        if (package := self._package_of_its_own(name, frames)) != "":
            what, bug = f"the package {package}", FailureClass.ENGINE_BUG
            told = (PACKAGE_ADVICE.format(package), ())
            return Placed(OF_A_PACKAGE, what, bug, name, frames[-1], False, *told, unproved=True)
        known: Placed | None = None
        for frame in reversed(frames):
            rule_of_frame = self._rule_of(frame, phase)
            if rule_of_frame is None or rule_of_frame.transparent:
                continue
            failure = rule_of_frame.class_of(name, phase)
            found = _placed(rule_of_frame, failure, name, innermost, by_words=False)
            if failure is not None:
                return found if rule_of_frame.proves(failure, name) else _unproved(found)
            known = known or found
        return known

    def _package_of_its_own(self, name: str, frames: Sequence[str]) -> str:
        """Return the package below vLLM that threw its own exception, "" where a rule knows it."""
        package = frames[-1].partition("/")[0] if frames else ""
        own = name.startswith(f"{package}.") and any(f.startswith("vllm/") for f in frames)
        known = package == "vllm" or not own or self._rule_of(frames[-1], None) is not None
        return "" if known else package

    def said_alone(self, text: str) -> tuple[FailureClass, str]:
        """Return what an exception's own words tell where only its line was kept, and what to do.

        The sentence is "" where the class says it all.
        """
        placed = self.place(text, ())
        if placed is None or placed.failure is None or not placed.worded:
            return FailureClass.UNKNOWN, ""
        return placed.failure, placed.advice

    def _thrown_from(self, frames: Sequence[str], phase: EnginePhase | None) -> str:
        """Return the innermost frame of a known place: deeper ones are the language's own."""
        for frame in reversed(frames):
            rule = self._rule_of(frame, phase)
            if rule is not None and not rule.transparent:
                return frame
        return ""

    def _rule_of(self, frame: str, phase: EnginePhase | None) -> PlaceRule | None:
        """Return the rule with the longest module that the frame is in."""
        longest, best = 0.0, None
        for rule in self._framed:
            if rule.phases and phase not in rule.phases:
                continue
            function = frame.rpartition(":")[2]
            if longest < _A_FUNCTION and rule.functions and rule.functions.fullmatch(function):
                longest, best = _A_FUNCTION, rule
            for module in rule.modules:
                length: float = len(module) + _MORE.get(module[0], 0)
                length += _AT_THIS_TIME if rule.phases else 0.0
                if length > longest and _is_in(frame, module):
                    longest, best = length, rule
        return best


def _is_in(frame: str, module: str) -> bool:
    """Tell whether a frame is in "vllm/config", "vllm/a.py", ":load_weights" or "*/ops/".

    No frame is in "": that is where a log shows none.
    """
    if not module:
        return not frame
    if module.startswith(":"):
        return frame.endswith(module)
    if module.startswith("*"):
        return frame.startswith("vllm/") and module[1:] in frame.partition(":")[0]
    return frame.startswith(module) and frame[len(module) : len(module) + 1] in ("/", ".", ":", "_")


def _placed(
    rule: PlaceRule, failure: FailureClass | None, name: str, frame: str, *, by_words: bool
) -> Placed:
    told = None if failure is FailureClass.UNKNOWN else failure
    worded = rule.words is not None
    said = (rule.advice, rule.switches)
    return Placed(rule.id, rule.what, told, name, frame, by_words, *said, worded)


def _unproved(placed: Placed) -> Placed:
    bug = FailureClass.ENGINE_BUG
    return replace(placed, failure=bug, advice=UNPROVED_ADVICE, switches=(), unproved=True)
