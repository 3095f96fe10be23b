# SPDX-License-Identifier: Apache-2.0
"""What `llmagent check` found wrong with an agent.toml that is to be reloaded.

The check runs as a command of root, outside of the daemon's sandbox, and sees what the daemon
cannot: whether vLLM's user may read the model, and who listens on the port.
"""

from __future__ import annotations

import json
from pathlib import Path

from agent.places import REFUSAL_FILE


def take_refusal(file: Path = REFUSAL_FILE) -> tuple[str, ...]:
    """Return the mistakes that `check` told, () when it told none."""
    try:
        mistakes = json.loads(file.read_text())
        file.unlink()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        return (f"what `llmagent check` found could not be read: {error}",)
    return tuple(str(mistake) for mistake in mistakes)
