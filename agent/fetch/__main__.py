# SPDX-License-Identifier: Apache-2.0
"""`python -m agent.fetch --model ID`: brings the hub's cache to a complete snapshot of the model.

Exit status: 0 complete, 1 failed (the traceback says why), 3 without huggingface_hub.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import sys
import traceback
from types import TracebackType

from agent.fetch import blobs
from agent.fetch.hub import Repository, redacted
from agent.fetch.progress import Reporter, say

NO_HUB = 3


def main() -> int:
    """Fetch what is asked on the command line."""
    sys.excepthook = _tell
    parser = argparse.ArgumentParser(prog="agent.fetch")
    parser.add_argument("--model", required=True)
    parser.add_argument("--revision")
    parser.add_argument("--tokenizer", help="another repository, for its small files only")
    parser.add_argument("--mistral-format", action="store_true", help="prefer consolidated files")
    parser.add_argument("--repair", action="store_true", help="remove files that are not the hub's")
    parser.add_argument("--reserve", type=int, default=1 << 30, help="bytes to leave free")
    args = parser.parse_args()
    try:
        importlib.import_module("huggingface_hub")
    except ImportError as error:
        say("missing", f"{sys.executable} has no huggingface_hub: {error}")
        return NO_HUB
    if args.tokenizer:
        Repository(args.tokenizer, None).fetch_small()
    _fetch(Repository(args.model, args.revision), args)
    return 0


def _fetch(repository: Repository, args: argparse.Namespace) -> None:
    repository.storage.mkdir(parents=True, exist_ok=True)
    # Services of one user share the cache: the second one finds complete what the first fetched.
    with open(repository.lock_file("llmagent"), "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        broken_off = blobs.remove_stale(repository.storage, repository.locks)
        if args.repair:
            blobs.remove_bad(repository.snapshot, repository.storage, repository.files)
        repository.fetch_small()
        wanted = repository.weights(mistral_format=args.mistral_format)
        with Reporter(repository, wanted, args.reserve):
            repository.fetch(wanted, broken_off)
    repository.check((*repository.small(), *wanted))
    say("complete", f"{repository.name} {repository.commit} in {repository.storage}")


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    for line in traceback.format_exception(kind, error, trace):
        print(redacted(line.rstrip("\n")), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
