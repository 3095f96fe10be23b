# SPDX-License-Identifier: Apache-2.0
"""Programs of supervisord's configuration that start vLLM (supervisord 3 and 4)."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from dataclasses import replace

from agent.core.foreign.found import Found, Left, NoEngineError
from agent.core.foreign.words import split

SUFFIXES = (".conf", ".ini")

_PAIR = re.compile(r"""(?<!\w)([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^,\n]*))""")
_READ = frozenset({"command", "environment", "user", "directory", "process_name"})
_OURS = frozenset(
    {
        *("autostart", "autorestart", "startsecs", "startretries", "exitcodes", "stopsignal"),
        *("stopwaitsecs", "stopasgroup", "killasgroup", "redirect_stderr", "priority", "numprocs"),
    }
)
"""What the unit does in its own way."""


def programs_of_supervisor(text: str, base: Found) -> Iterator[tuple[Found, tuple[str, ...]]]:
    """Yield each program whose command names vLLM, with its words; raises NoEngineError.

    `base` knows where the file lies.
    """
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(" ;",))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise NoEngineError(f"it is no file of supervisord: {str(error).splitlines()[0]}") from None
    for section in parser.sections():
        kind, _, name = section.partition(":")
        own = dict(parser.items(section))
        if kind != "program" or "vllm" not in own.get("command", ""):
            continue
        pairs = _PAIR.findall(own.get("environment", ""))
        environment = {word: a or b or c.strip() for word, a, b, c in pairs}
        told = "llmagent's unit has its own"
        rest = [key for key in own if key not in _READ | _OURS and "log" not in key]
        left = tuple(Left(f"{key}={own[key]}", told) for key in rest)
        found = replace(
            base,
            name=name,
            environment=environment,
            user=own.get("user", ""),
            directory=own.get("directory", base.directory),
            left=left,
        )
        yield found, split(own["command"])
