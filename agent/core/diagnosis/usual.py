# SPDX-License-Identifier: Apache-2.0
"""The line that a busy server writes most, told by one short test: a request that it answered.

It says nothing but that the engine works. Where the reader waits for nothing else, what it would
change is known beforehand, and none of the patterns need be tried.
"""

from __future__ import annotations

import re

_ANSWERED = re.compile(
    r"(?:\((APIServer) pid=\d{1,9}\) )?INFO: {5}\d{1,3}(?:\.\d{1,3}){3}:\d{1,5} - \"(?:GET|POST) "
    r"(/(?:health|ping|metrics|v1/(?:chat/completions|completions|embeddings|models|responses"
    r"|messages|rerank|score|pooling|classify|audio/transcriptions)))"
    r" HTTP/1\.1\" 200 OK"
)
"""uvicorn's access line of an endpoint of vLLM, as vLLM of all releases has it printed: without
anything of a client's own but its address."""


def answered(raw: str) -> tuple[str, str] | None:
    """Return the process ("" if not printed) and the path of such a line, None for any other."""
    found = _ANSWERED.fullmatch(raw)
    return None if found is None else (found[1] or "", found[2])
