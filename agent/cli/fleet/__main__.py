# SPDX-License-Identifier: Apache-2.0
"""`python -m agent.cli.fleet`: asks hosts and prints the lines that the status page shows of them.

Reads {"hosts": [...], "user", "password_file", "ca_file"} from its input, the files "" for none;
`agent.host.fleet.program` runs it. Prints one document:

    {"format": 1, "at_seconds", "summary", "hosts": [{"name", "address", "level", "sentence",
    "more": [sentence]}]}

What needs a person comes first. `level` is "wrong", "away", "not yet" or "well".
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from agent.cli.fleet.table import Row, ordered, row_of, summary_of
from agent.core.plain import plain
from agent.core.settings.hosts import Host
from agent.errors import AgentError
from agent.host.web.peer import Asker, credentials_of
from agent.tasks.fleet.ask_hosts import Asking, hosts_of

LONGEST = 300


def document(hosts: Sequence[Host], rows: Sequence[Row], at_seconds: float) -> dict[str, object]:
    """Return the document; a hundred hosts fit into half a megabyte, whatever they say."""
    addresses = {host.name: host.address for host in hosts}
    return {
        "format": 1,
        "at_seconds": at_seconds,
        "summary": summary_of(rows),
        "hosts": [
            {
                "name": row.name,
                "address": addresses[row.name],
                "level": row.word,
                "sentence": plain(row.sentence, LONGEST),
                "more": [plain(line, LONGEST) for line in row.more],
            }
            for row in ordered(rows)
        ],
    }


def main() -> int:
    """Ask once. A mistake is one sentence on standard error, and status 1."""
    asked = json.load(sys.stdin)
    try:
        files = asked["password_file"] or None, asked["ca_file"] or None
        asker = Asker(credentials_of(asked["user"], *files))
        hosts = hosts_of(asked["hosts"])
        rows = Asking(hosts, asker, row_of).ask()
    except AgentError as error:
        print(plain(str(error), LONGEST), file=sys.stderr)
        return 1
    print(json.dumps(document(hosts, rows, time.time()), separators=(",", ":")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
