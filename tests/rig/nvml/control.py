# SPDX-License-Identifier: Apache-2.0
"""The command `nvsim`: makes simulated cards hot, lost, wedged or upgraded while programs run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import driver, physics
from .state_file import CARDS, DEFAULT, StateFile, Value

XID_TEXT = {
    13: "Graphics Exception",
    31: "MMU Fault",
    48: "DBE (Double Bit Error)",
    79: "GPU has fallen off the bus.",
    94: "Contained: SM",
    119: "Timeout waiting for RPC from GSP!",
}


def xid(state: StateFile, gpu: int, code: int, pid: int = 0) -> str:
    """Raises an Xid event and returns the line that the kernel would log."""
    count = int(state.number(gpu, "xid_count")) + 1
    state.set(gpu, {"xid": code, "xid_count": count})
    bus = (state.get(gpu, "pci_bus_id") or "00000000:00:00.0").rpartition(".")[0][4:]
    whose = f"pid={pid}, name=python3, " if pid else "pid='<unknown>', name=<unknown>, "
    return f"NVRM: Xid (PCI:{bus}): {code}, {whose}{XID_TEXT.get(code, 'simulated')}"


def ramp(state: StateFile, gpu: int, key: str, first: float, last: float, seconds: float) -> None:
    """Moves a number from `first` to `last`, ten steps a second."""
    steps = max(1, round(seconds * 10))
    for done in range(steps + 1):
        state.set(gpu, {key: round(first + (last - first) * done / steps)})
        time.sleep(seconds / steps)


def assignment(word: str) -> tuple[int | None, str, Value]:
    """Returns section, key and value of `GPU.KEY=VALUE` or `KEY=VALUE` ([system])."""
    name, equals, value = word.partition("=")
    head, dot, key = name.partition(".")
    section = int(head) if dot and head.isdigit() else None
    return section, key if section is not None else name, value if equals else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nvsim", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=Path(os.environ.get("NVSIM_STATE") or DEFAULT)
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the driver's files are")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="a host with these cards")
    create.add_argument("cards", nargs="*", choices=[*CARDS, []])
    for name, text in (("set", "GPU.KEY=VALUE or KEY=VALUE"), ("del", "GPU.KEY or KEY")):
        change = commands.add_parser(name, help=text)
        change.add_argument("words", nargs="+")
    commands.add_parser("get", help="GPU.KEY or KEY").add_argument("word")
    for name, text in (
        ("lose", "it falls off the bus"),
        ("find", "it is back"),
        ("wedge", "its calls never return"),
        ("release", "they return again"),
        ("take-out", "it is no longer there"),
    ):
        commands.add_parser(name, help=text).add_argument("gpu", type=int)
    event = commands.add_parser("xid", help="an Xid; prints the kernel's line")
    event.add_argument("gpu", type=int)
    event.add_argument("code", type=int)
    event.add_argument("--pid", type=int, default=0)
    slope = commands.add_parser("ramp", help="moves a number")
    slope.add_argument("gpu", type=int)
    slope.add_argument("key")
    for name in ("first", "last", "seconds"):
        slope.add_argument(name, type=float)
    commands.add_parser("driver-install", help="library on disk and loaded module agree")
    commands.add_parser("driver-upgrade", help="a new library").add_argument("version")
    commands.add_parser("driver-reload", help="the library's module is loaded")
    run = commands.add_parser("physics", help="cards with a `load` heat up and cool down")
    run.add_argument("--period", type=float, default=0.25)
    run.add_argument("--speed", type=float, default=1.0)
    return parser


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit status."""
    args = _parser().parse_args(argv)
    state = StateFile(args.state)
    files = driver.DriverFiles(args.root, Path(__file__).parent / driver.LIBRARY)
    match args.command:
        case "create":
            state.create(*args.cards)
        case "set" | "del":
            for section, key, value in map(assignment, args.words):
                state.set(section, {key: value if args.command == "set" else None})
        case "get":
            section, key, _ = assignment(args.word)
            print(state.get(section, key) or "")
        case "lose" | "find":
            state.set(args.gpu, {"lost": 1 if args.command == "lose" else None})
        case "wedge" | "release":
            state.set(args.gpu, {"hang": 1 if args.command == "wedge" else None})
        case "take-out":
            state.take_out(args.gpu)
        case "xid":
            print(xid(state, args.gpu, args.code, args.pid))
        case "ramp":
            ramp(state, args.gpu, args.key, args.first, args.last, args.seconds)
        case "driver-install":
            driver.install(state, files)
        case "driver-upgrade":
            driver.upgrade(state, files, args.version)
        case "driver-reload":
            driver.reload(state, files)
        case "physics":
            physics.run(state, args.period, args.speed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
