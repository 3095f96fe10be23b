# SPDX-License-Identifier: Apache-2.0
"""Writes the JSON Schemas of agent.toml and of what each command prints.

python3 packaging/schemas DIRECTORY writes agent.toml.json, COMMAND.json and, for an option that
makes a command print something else, COMMAND-OPTION.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

from configuration import agent_toml
from printed import printed


def main() -> None:
    """Write the schemas."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    titles = {
        name: f"what `llmagent {name.replace('-', ' --')} --format json` prints"
        for name in printed()
    }
    titles["events"] += ", each line"
    for name, schema in {**printed(), "agent.toml": agent_toml()}.items():
        head = {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": titles.get(name, "/etc/llmagent/agent.toml"),
        }
        text = json.dumps({**head, **schema}, indent=1, ensure_ascii=False)
        (directory / f"{name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
