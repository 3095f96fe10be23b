# SPDX-License-Identifier: Apache-2.0
"""The driver of all fuzzers: mutates what is well-formed, from a seed, until a time is over.

A finding is an input that a border answers with an exception or takes too long for. It is written
to `corpus/BORDER/`, whose files are replayed before anything is made up, in CI as well.
"""

from __future__ import annotations

import hashlib
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.given.yardstick import yardsticks

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 1 << 16
REPEATS = (1, 2, 100, 5000)
BITS = (
    b"\x00",
    b"\xff",
    b"\n",
    b" ",
    b'"',
    b"\\",
    b"{",
    b"[",
    b",",
    b":",
    b"=",
    b"-",
    b"\xed\xa0\x80",
)
NUMBERS = (b"0", b"-1", b"1e308", b"1e999", b"NaN", b"9" * 19, b"9" * 400, b"9" * 5000, b"0.1")


@dataclass(frozen=True, slots=True)
class Border:
    """Where foreign bytes come in: `take` reads them as the agent does and raises nothing else.

    `seeds` are well-formed inputs, `words` what means something there; `most` is how
    many yardsticks one input may take.
    """

    name: str
    take: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    most: float = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke a border, and how."""

    border: str
    content: bytes
    what: str

    def keep(self) -> Path:
        """Write the input to the corpus; return the file."""
        place = CORPUS / self.border
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{hashlib.sha256(self.content).hexdigest()[:16]}.bin"
        file.write_bytes(self.content)
        return file


def kept(border: Border) -> Iterator[bytes]:
    """Yield what once broke this border."""
    for file in sorted((CORPUS / border.name).glob("*.bin")):
        yield file.read_bytes()


def fuzz(border: Border, seed: int, seconds: float) -> tuple[int, Finding | None]:
    """Try inputs until one breaks the border or the time is over; return how many were tried."""
    made = random.Random(seed)
    end = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < end:
        tried += 1
        found = tell(border, mutated(border, made))
        if found is not None:
            return tried, found
    return tried, None


def tell(border: Border, content: bytes) -> Finding | None:
    """Return what is wrong with how the border takes this input, None when it takes it well."""
    try:
        took = yardsticks(lambda: border.take(content), border.most)
    except Exception:  # noqa: BLE001 - any exception is a finding
        return Finding(border.name, content, traceback.format_exc())
    if took > border.most:
        return Finding(border.name, content, f"took {took:.0f} yardsticks of the processor")
    return None


def mutated(border: Border, made: random.Random) -> bytes:
    """Return one of the seeds after a few changes."""
    content = made.choice(border.seeds)
    for _ in range(made.choice((0, 1, 1, 2, 4, 16))):
        content = _changed(content, border, made)
    return content[:LONGEST]


def _changed(content: bytes, border: Border, made: random.Random) -> bytes:
    at = made.randrange(len(content) + 1)
    until = min(len(content), at + made.choice((0, 1, 4, 32, 256)))
    match made.randrange(5):
        case 0:
            return content[:at] + content[until:]
        case 1:
            piece = made.choice(NUMBERS)
        case 2:
            piece = made.choice(BITS) * made.choice(REPEATS)
        case 3 if border.words:
            piece = made.choice(border.words)
        case 4:
            other = made.choice(border.seeds)
            begin = made.randrange(len(other) + 1)
            piece = other[begin : begin + made.choice((1, 16, 256))]
        case _:
            piece = content[at:until] * made.choice(REPEATS)
    return content[:at] + piece + content[until:]
