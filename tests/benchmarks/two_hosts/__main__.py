# SPDX-License-Identifier: Apache-2.0
"""One model over two booted machines on real vLLM: how long all are away, after which trouble.

Usage: python -m tests.benchmarks.two_hosts [KIND[:TROUBLE,...]...], of the kinds `split`
(--nnodes 2), `replicas` (data parallel, one on each host behind the head), `hybrid` (data parallel,
two on each host, and each takes requests for its own), `external` (data parallel, one on each
host, each with its own address) and `ray` (Ray alone, which the CPU build refuses), and of the
troubles in troubles.TROUBLES; all by default, which takes an hour and more.

After each the ranks of both machines are to serve again, without a person, or to have gone on.
Printed are the seconds to the end of the last old process on either machine, and to the first
answered request, what each machine's history tells of it, and what verification proves.
"""

from __future__ import annotations

import sys

from tests.benchmarks.two_hosts.over_ray import meet
from tests.benchmarks.two_hosts.pair import KINDS, serving
from tests.benchmarks.two_hosts.troubles import TROUBLES


def main(words: list[str]) -> None:
    """Print the figures of each kind that is asked for."""
    for word in words or KINDS:
        kind, _, named = word.partition(":")
        if kind == "ray":
            meet()
            continue
        with serving(kind) as pair:
            for trouble in named.split(",") if named else TROUBLES:
                TROUBLES[trouble](pair)


if __name__ == "__main__":
    main(sys.argv[1:])
