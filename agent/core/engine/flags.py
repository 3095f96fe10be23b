# SPDX-License-Identifier: Apache-2.0
"""Which flags the installed vLLM has, by its own help, and what became of those that it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from agent.core.engine.install import Engine, release_of
from agent.core.record import dataclass

_OPTION_LINE = re.compile(r"^ {1,8}(-[A-Za-z-].*)$", re.MULTILINE)
_FLAG = re.compile(r"(?<![\w-])--[A-Za-z][A-Za-z0-9_-]*")
_DESCRIPTION = re.compile(r"(?<! ) {2,}\S")

REMOVED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "--use-v2-block-manager": ("0.10", "leave it out, there is only that one"),
        "--num-scheduler-steps": ("0.10", "leave it out, the V1 engine needs none"),
        "--device": ("0.10", "leave it out, the platform is detected"),
        "--enable-reasoning": ("0.10", "--reasoning-parser alone enables it"),
        "--enable-prompt-adapter": ("0.10", "prompt adapters are gone"),
        "--max-seq-len-to-capture": ("0.11", "--max-cudagraph-capture-size is the nearest"),
        "--disable-async-output-proc": ("0.11", "leave it out"),
        "--preemption-mode": ("0.11", "leave it out, preempted requests are computed again"),
        "--scheduler-delay-factor": ("0.11", "leave it out"),
        "--rope-scaling": ("0.11.2", "use --hf-overrides"),
        "--rope-theta": ("0.11.2", "use --hf-overrides"),
        "--guided-decoding-backend": ("0.12", "use --structured-outputs-config"),
        "--num-lookahead-slots": ("0.12", "use --speculative-config"),
        "--task": ("0.13", "use --runner and --convert"),
        "-O.": ("0.13", "write --compilation-config. in its place, with the same key"),
        "--cuda-graph-sizes": ("0.13", "use --cudagraph-capture-sizes"),
        "--disable-mm-preprocessor-cache": ("0.13", "use --mm-processor-cache-gb=0"),
        "--disable-log-requests": ("0.17", "leave it out, requests are not logged by default"),
        "--swap-space": ("0.18", "leave it out, the V1 engine does not swap"),
        "--disable-frontend-multiprocessing": ("0.19", "leave it out"),
        "--max-num-partial-prefills": ("0.27", "leave it out"),
        "--calculate-kv-scales": ("0.28", "leave it out, or use a checkpoint with KV scales"),
    }
)
"""Flags by the first of 29 releases read, 0.6.3..0.32, without them; and what to do instead.

"-O." is how keys of --compilation-config begin to 0.12; later what follows -O is a level, and
-O.mode=3 none (utils/argparse_utils.py of 0.10.1, 0.11, 0.12, 0.13 and 0.32)."""

BACK: Mapping[str, str] = MappingProxyType({"--disable-log-requests": "0.33"})
"""Removed flags by the release that has them again, as the negative of another."""

ADDED: Mapping[str, str] = MappingProxyType(
    {
        "--enable-sleep-mode": "0.7",
        "--kv-cache-memory-bytes": "0.10.2",
        "--async-scheduling": "0.10.2",
        "--runner": "0.10.2",
        "--convert": "0.10.2",
        "--decode-context-parallel-size": "0.10.2",
        "--max-cudagraph-capture-size": "0.11.2",
        "--kv-offloading-size": "0.11.2",
        "--optimization-level": "0.12",
        "--attention-backend": "0.13",
        "--allow-deprecated-quantization": "0.14",
        "--disable-access-log-for-endpoints": "0.16",
        "--performance-mode": "0.17",
        "--moe-backend": "0.17",
        "--shutdown-timeout": "0.18",
        "--distributed-timeout-seconds": "0.18",
        "--kv-cache-dtype-skip-layers": "0.19",
        "--quantization-config": "0.20",
        "--linear-backend": "0.22",
        "--max-num-queued-reqs": "0.29",
        "--device-memory-utilization": "0.31",
        "--log-level": "0.31",
        "--monokernel": "0.33",
        "--reasoning-effort-map": "0.33",
        "--sleep-mode-backend": "0.33",
        "--watchdog-config": "0.33",
    }
)
"""Flags by the first vLLM release read that has them (the same 29 releases, and 0.33)."""


@dataclass(frozen=True, slots=True)
class UnknownFlag:
    """A flag that this vLLM refuses; `advice` says what became of it or what was meant."""

    flag: str
    advice: str

    def __str__(self) -> str:
        return f"this vLLM has no {self.flag}: {self.advice}"


def parse_help(text: str) -> frozenset[str]:
    """Return all long flags of `--help=all` (vLLM 0.11..0.32) or `--help` (argparse's form).

    Flags that only a description mentions are none.
    """
    return frozenset(
        flag for line in _OPTION_LINE.findall(text) for flag in _FLAG.findall(_invocation(line))
    )


def unknown_flags(argv: Sequence[str], flags: frozenset[str]) -> tuple[UnknownFlag, ...]:
    """Return the long flags of a command line that are none of vLLM's help, each once."""
    long = (flag for flag in _flags(argv) if flag.startswith("--"))  # the help has no "-O."
    missing = dict.fromkeys(flag for flag in long if not _is_taken(flag, flags))
    return tuple(UnknownFlag(flag, _advice(flag, flags)) for flag in missing)


def unknown_by_version(argv: Sequence[str], version: str) -> tuple[UnknownFlag, ...]:
    """Return the flags that a release is known to lack; for when its help was not read."""
    engine = Engine(version, has_vllm_metadata=True, flags=None)
    missing = []
    for flag in dict.fromkeys(_flags(argv)):
        gone = flag in REMOVED and engine.at_least(*release_of(REMOVED[flag][0]))
        gone = gone and not (flag in BACK and engine.at_least(*release_of(BACK[flag])))
        early = flag in ADDED and engine.before(*release_of(ADDED[flag]))
        if gone or early:
            missing.append(UnknownFlag(flag, _advice(flag, frozenset())))
    return tuple(missing)


def of_refused(line: str) -> str:
    """Return what to do about the flags in vLLM's "error: unrecognized arguments: --task embed".

    "" where none of them is known to have come or gone with a release.
    """
    refused = dict.fromkeys(_flags(line.partition("arguments:")[2].split()))
    known = [flag for flag in refused if flag in REMOVED or flag in ADDED]
    return "; ".join(f"{flag}: {_advice(flag, frozenset())}" for flag in known)


def _is_taken(flag: str, flags: frozenset[str]) -> bool:
    """Tell whether the parser takes a flag: by its name, as a negative that the help hides, begun.

    From 0.33 the help shows --enable-x with --disable-x and hides --no-enable-x and --no-disable-x,
    which are taken as before (argparse_utils.EnableDisableAction). argparse takes the beginning of
    a name where only one flag begins so.
    """
    if flag in flags:
        return True
    hidden = flag.removeprefix("--no-")
    for one, other in (("enable-", "disable-"), ("disable-", "enable-")):
        if flag.startswith("--no-") and hidden.startswith(one):
            pair = {f"--{hidden}", f"--{other}{hidden.removeprefix(one)}"}
            return pair <= flags
    return sum(known.startswith(flag) for known in flags) == 1


def _invocation(line: str) -> str:
    """Return what stands before the description of an option."""
    found = _DESCRIPTION.search(line)
    return line[: found.start()] if found else line


def _flags(argv: Sequence[str]) -> Iterator[str]:
    """Yield the flags as vLLM's parser reads them: no value, no ".key" of a JSON option."""
    for word in argv:
        if word.startswith("-O."):
            yield "-O."
        if word.startswith("--") and len(word) > 2:
            yield re.split(r"[=.]", word, maxsplit=1)[0].replace("_", "-")


def _advice(flag: str, flags: frozenset[str]) -> str:
    if flag in REMOVED:
        release, instead = REMOVED[flag]
        return f"it was removed in {release}; {instead}"
    if flag in ADDED:
        return f"it came with {ADDED[flag]}; upgrade vLLM or leave it out"
    import difflib  # only for who has made a mistake, as in config.values

    close = difflib.get_close_matches(flag, sorted(flags), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "leave it out"
