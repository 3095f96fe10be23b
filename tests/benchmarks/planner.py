# SPDX-License-Identifier: Apache-2.0
"""The planner's errors on published starts of vLLM: fitted, mended and blind ones, beside peers'.

Usage: python -m tests.benchmarks.planner. Errors are shares of what vLLM printed; where a row gives
the KV cache's GiB, only its tokens are judged. "Inside" counts the truths that lie within the
plan's own error. CPU seconds are those of one `llmagent plan` as its own process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median, quantiles

from agent.core.planner.question import Fit
from tests.benchmarks.planner_peers import Figures, ask_scout, ask_wizard
from tests.given.published.rows import (
    Row,
    bars,
    blind,
    eighth,
    eleventh,
    error,
    fifth,
    fourth,
    ninth,
    rows,
    second,
    seventh,
    sixth,
    strangers,
    tenth,
    third,
    unseen,
)

WITHIN: Mapping[str, float] = {"weights_gib": 0.05, "available_kv_gib": 0.1, "kv_tokens": 0.1}
HOLDS = 0.8
"""The share of truths that shall lie within the error."""

UNSEEN_FIRST = """\
  at first sight, before anything was mended (25 of 30 models known by name):
  weights_gib 9 of 10 within 5%, available_kv_gib 6 of 12 and kv_tokens 11 of 16 within 10%,
  14 of 22 inside, "fits" said of 2 of 8 starts that failed, "does not fit" of none that served"""
DEVELOPMENT_FIRST = """\
  at first sight (all 23 models known by name): weights_gib 13 of 15 within 5%,
  available_kv_gib 6 of 10 and kv_tokens 12 of 14 within 10%, 19 of 25 inside,
  "fits" said of none of 5 starts that failed, "does not fit" of none of 18 that served"""
SECOND_FIRST = """\
  at first sight (22 of 24 models known by name): weights_gib 9 of 12 within 5%,
  available_kv_gib 18 of 21 and kv_tokens 12 of 13 within 10%, 23 of 33 inside,
  "fits" said of none of 2 starts that failed, "does not fit" of none of 20 that served"""
THIRD_FIRST = """\
  at first sight (20 of 24 models known by name): weights_gib 12 of 14 within 5%,
  available_kv_gib 10 of 16 and kv_tokens 10 of 16 within 10%, 26 of 30 inside,
  "fits" said of 1 of 2 starts that failed, "does not fit" of none of 18 that served"""
FOURTH_FIRST = """\
  at first sight (3 of 4 models known by name): weights_gib 3 of 3 within 5%, available_kv_gib
  and kv_tokens 1 of 3 within 10%, 6 of 6 inside, no verdict against the truth; one was "not known"
  for an option that is read since"""
FIFTH_FIRST = """\
  at first sight (all 7 models known by name): weights_gib 4 of 5 within 5%, available_kv_gib 2 of 5
  and kv_tokens 4 of 5 within 10%, 8 of 10 inside, no verdict against the truth"""
SIXTH_FIRST = """\
  at first sight (39 of 42 models known by name): weights_gib 21 of 22 within 5%,
  available_kv_gib 10 of 25 and kv_tokens 8 of 18 within 10%, 39 of 47 inside,
  "fits" said of 2 of 13 starts that failed, "does not fit" of none of 26 that served; most leave
  less than 4 GiB to the cache"""
SIXTH_CLOSED_FIRST = """\
  opened once, after the mending on the other half (28 of 33 known by name): weights_gib 16 of 17
  within 5%, available_kv_gib 5 of 12 and kv_tokens 11 of 14 within 10%, 19 of 29 inside,
  "fits" said of none of 10 starts that failed, "does not fit" of none of 18 that served; the blocks
  of states since 0.16 were mended on what it showed"""
SEVENTH_FIRST = """\
  at first sight (37 of 39 models known by name): weights_gib 11 of 14 within 5%,
  available_kv_gib 13 of 22 and kv_tokens 13 of 17 within 10%, 28 of 36 inside,
  "fits" said of 2 of 11 starts that failed, "does not fit" of 1 of 26 that served"""
SEVENTH_CLOSED_FIRST = """\
  opened once, after the mending on the other half (24 of 26 known by name): weights_gib 3 of 3
  within 5%, available_kv_gib 7 of 10 and kv_tokens 6 of 10 within 10%, 12 of 13 inside,
  "fits" said of none of 8 starts that failed, "does not fit" of none of 16 that served; three of
  an L4 were read for their terms before (4 of 7 and 4 of 8 without); a release told by its day was
  mended to the one whose tokens it prints"""
EIGHTH_FIRST = """\
  at first sight (45 of 48 models known by name): weights_gib 36 of 38 within 5%,
  available_kv_gib 29 of 37 and kv_tokens 30 of 38 within 10%, 66 of 75 inside,
  "fits" said of 2 of 9 starts that failed, "does not fit" of none of 36 that served"""
EIGHTH_CLOSED_FIRST = """\
  opened once, after the mending on the other half (all known by name): weights_gib 23 of 23
  within 5%, available_kv_gib 21 of 24 and kv_tokens 21 of 25 within 10%, 44 of 47 inside,
  "fits" said of none of 5 starts that failed, "does not fit" of none of 24 that served; some of
  its writers are in the other half, too; tokens were 22 once an option of a row was read as the
  command line's is, and the checking of drafts was mended on what it showed"""
NINTH_FIRST = """\
  planned once, and nothing was mended on it (all known by name or by what its writer tells):
  weights_gib 13 of 14 within 5%, available_kv_gib 15 of 22 and kv_tokens 16 of 20 within 10%,
  29 of 36 inside, "fits" said of none of 4 starts that failed, "does not fit" of none of 21 that
  served; available_kv_gib is 9 of 9 where 5 GiB or more are left, 6 of 13 elsewhere: six of these
  are starts of one 27B on one card, cold and warm ones"""
TENTH_FIRST = """\
  at first sight (17 of 19 models known by name): weights_gib 7 of 12 within 5%,
  available_kv_gib 4 of 12 and kv_tokens 3 of 12 within 10%, 13 of 24 inside,
  "fits" said of none of 5 starts that failed, "does not fit" of none of 12 that served"""
TENTH_CLOSED_FIRST = """\
  opened once, after the mending on the other half (12 of 14 known by name): weights_gib 8 of 10
  within 5%, available_kv_gib 5 of 8 and kv_tokens 4 of 6 within 10%, 13 of 18 inside,
  "fits" said of none of 5 starts that failed, "does not fit" of none of 7 that served; the planner
  of the session's begin is within as often (7 of 9, 5 of 8, 4 of 6, 12 of 17)"""
ELEVENTH_FIRST = """\
  planned once (12 of 16 known by name): weights_gib 7 of 8 within 5%, available_kv_gib 10 of 12
  and kv_tokens 7 of 10 within 10%, 16 of 20 inside, "fits" said of none of 1 start that failed,
  "does not fit" of none of 11 that served; the tokens of a split context were mended on it"""
POOLED_CLOSED_FIRST = """\
closed halves of six collections, the ninth and the eleventh, each as it was first opened:
  weights_gib 105 of 112 within 5%, available_kv_gib 94 of 130 and kv_tokens 95 of 121 within 10%,
  199 of 242 inside, "fits" said of none of 42 starts that failed, "does not fit" of none of 139
  that served"""
THIRD_CLOSED_FIRST = """\
  at first sight (30 of 34 models known by name): weights_gib 22 of 23 within 5%,
  available_kv_gib 24 of 28 and kv_tokens 24 of 28 within 10%, 43 of 51 inside,
  none that failed, "does not fit" said of none of 30 that served;
  opened once, after the mending on the other half (all 34 known): 24 of 25, 24 of 31, 26 of 31,
  45 of 56, none of 1, none of 33; pairs of GB10, 4-bit experts beside recurrent layers, drafters
  among the weights and the sampler of 0.31 were mended on what it showed"""
CLOSED_FIRST = """\
  at first sight (16 of 17 models known by name): weights_gib 11 of 12 within 5%,
  available_kv_gib 6 of 10 and kv_tokens 4 of 5 within 10%, 17 of 22 inside,
  "fits" said of 1 of 7 starts that failed, "does not fit" of none of 9 that served;
  opened once, after the mending on the other half (all known): 11 of 12, 7 of 11, 4 of 5,
  21 of 23, none of 8, none of 9; the multimodal rotary table was mended on what it showed"""


def tell(who: str, figure: str, errors: Sequence[float], asked: int) -> None:
    if not errors:
        print(f"  {who:<14} {figure:<18} no answer")
        return
    sizes = [abs(e) for e in errors]
    within = sum(size <= WITHIN[figure] for size in sizes)
    print(
        f"  {who:<14} {figure:<18} {within} of {asked} within {WITHIN[figure]:.0%}, "
        f"median {median(sizes):.1%}, worst {max(sizes):.1%}"
    )


def errors_of(some: Iterable[Row], figure: str) -> list[float]:
    return [e for row in some if (e := error(row, figure)) is not None]


def tell_all(title: str, some: Sequence[Row]) -> None:
    """Print figures, bars and verdicts of some starts."""
    print(f"{title}: {len(some)} starts")
    for figure in WITHIN:
        here = errors_of(some, figure)
        tell("llmagent", figure, here, len(here))
    off = [size for row in some for size in bars(row).values()]
    print(f"  inside         {sum(size <= 1 for size in off)} of {len(off)}")
    verdicts = [(row.failed, row.plan().verdict) for row in some]
    failed = [verdict for is_failed, verdict in verdicts if is_failed]
    served = [verdict for is_failed, verdict in verdicts if not is_failed]
    print(f'  said "fits" of {failed.count(Fit.FITS)} of {len(failed)} starts that failed,', end="")
    print(f' "does not fit" of {served.count(Fit.DOES_NOT_FIT)} of {len(served)} that served')


def _known(some: Iterable[Row]) -> list[Row]:
    return [row for row in some if row.config is not None]


def tell_kinds(some: Sequence[Row]) -> None:
    """Print the figures by what is hard about a start."""
    print("by kind, all starts:")
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in some:
        kinds[row.kind].append(row)
    for kind, here in sorted(kinds.items()):
        parts = []
        for figure, limit in WITHIN.items():
            sizes = [abs(e) for e in errors_of(here, figure)]
            parts.append(f"{figure} {sum(s <= limit for s in sizes)} of {len(sizes)}")
        off = [size for row in here for size in bars(row).values()]
        parts.append(f"inside {sum(size <= 1 for size in off)} of {len(off)}")
        print(f"  {kind:<14} {', '.join(parts)}")


def tell_bars(some: Sequence[Row]) -> None:
    """Print of each term how many truths of a left-out family the bars of the others hold.

    The others give the multiple of the plan's error that holds for HOLDS of them.
    """
    print(f"bars, one family left out, with the multiple that holds for {HOLDS:.0%} of the others:")
    for term in ("weights_gib", "available_kv_gib"):
        families: dict[str, list[float]] = defaultdict(list)
        for row in some:
            families[row.family] += [size for name, size in bars(row).items() if name == term]
        held, asked, factors = 0, 0, []
        for family, own in families.items():
            others = [s for name, sizes in families.items() if name != family for s in sizes]
            factor = quantiles(others, n=100)[int(100 * HOLDS) - 1]
            factors.append(factor)
            held += sum(size <= factor for size in own)
            asked += len(own)
        inside = sum(size <= 1 for sizes in families.values() for size in sizes)
        print(
            f"  {term:<18} {held} of {asked} with {min(factors):.2f} to {max(factors):.2f} of the "
            f"plan's error, {inside} of {asked} with the plan's own"
        )


def tell_cost(calls: int = 10) -> None:
    """Print what one `llmagent plan` costs of the CPU."""
    program = "from agent.cli.main import main; main(['plan', 'Qwen/Qwen3-8B', '--gpu', 'L4'])"
    argv = [sys.executable, "-c", program]
    sizes = []
    for _ in range(calls):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        sizes.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"CPU seconds of a call: median {median(sizes):.3f}, least {min(sizes):.3f}")


def tell_peers(some: Sequence[Row]) -> None:
    """Print the peers' errors, and ours on the same starts."""
    print("beside others, all starts:")
    for who, answers in (("vllm-wizard", ask_wizard(some)), ("vramscout", ask_scout(some))):
        for figure in ("weights_gib", "available_kv_gib"):
            pairs = [_pair(row, answer, figure) for row, answer in zip(some, answers, strict=True)]
            both = [pair for pair in pairs if pair is not None]
            tell(who, figure, [theirs for theirs, _ in both], len(both))
            tell("  llmagent", figure, [ours for _, ours in both], len(both))


def _pair(row: Row, answer: Figures, figure: str) -> tuple[float, float] | None:
    ours = error(row, figure)
    return (
        None
        if figure not in answer or ours is None
        else (
            answer[figure] / row.printed[figure] - 1,
            ours,
        )
    )


def main() -> int:
    """Print the errors."""
    told = (
        ("fitted", rows(), None),
        ("mended by kind", strangers(), None),
        ("unseen, now", _known(unseen()), UNSEEN_FIRST),
        ("blind, development half, now", blind(closed=False), DEVELOPMENT_FIRST),
        ("second, now", _known(second()), SECOND_FIRST),
        ("blind, closed half, now", _known(blind(closed=True)), CLOSED_FIRST),
        ("third, development half, now", _known(third(closed=False)), THIRD_FIRST),
        ("third, closed half, now", _known(third(closed=True)), THIRD_CLOSED_FIRST),
        ("fourth, now", fourth(), FOURTH_FIRST),
        ("fifth, now", fifth(), FIFTH_FIRST),
        ("sixth, development half, now", _known(sixth(closed=False)), SIXTH_FIRST),
        ("sixth, closed half, now", _known(sixth(closed=True)), SIXTH_CLOSED_FIRST),
        ("seventh, development half, now", _known(seventh(closed=False)), SEVENTH_FIRST),
        ("seventh, closed half, now", _known(seventh(closed=True)), SEVENTH_CLOSED_FIRST),
        ("eighth, development half, now", _known(eighth(closed=False)), EIGHTH_FIRST),
        ("eighth, closed half, now", _known(eighth(closed=True)), EIGHTH_CLOSED_FIRST),
        ("ninth, now", _known(ninth()), NINTH_FIRST),
        ("tenth, development half, now", _known(tenth(closed=False)), TENTH_FIRST),
        ("tenth, closed half, now", _known(tenth(closed=True)), TENTH_CLOSED_FIRST),
        ("eleventh, now", _known(eleventh()), ELEVENTH_FIRST),
    )
    for title, some, first in told:
        tell_all(title, some)
        if first is not None:
            print(first)
    print(POOLED_CLOSED_FIRST)
    every = [*unseen(), *second(), *blind(closed=True), *third(closed=False), *third(closed=True)]
    every += [*sixth(closed=False), *sixth(closed=True), *seventh(closed=False)]
    every += [*seventh(closed=True), *eighth(closed=False), *eighth(closed=True)]
    every += [*tenth(closed=False), *tenth(closed=True), *eleventh()]
    print(f"unknown by name: {', '.join(r.model for r in every if r.config is None) or 'none'}")
    everything = [row for _, some, _ in told for row in some]
    tell_kinds(everything)
    tell_bars(everything)
    tell_peers(everything)
    tell_cost()
    return 0


if __name__ == "__main__":
    sys.exit(main())
