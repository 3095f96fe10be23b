# SPDX-License-Identifier: Apache-2.0
"""What `llmagent check` found wrong with an agent.toml that is to be reloaded.

The check runs as a command of root, outside of the daemon's sandbox, and sees what the daemon
cannot: whether vLLM's user may read the model, and who listens on the port.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from agent.places import REFUSAL_FILE


def hand_over(mistakes: Sequence[str], file: Path = REFUSAL_FILE) -> None:
    """Leave the mistakes for the daemon, before it is sent SIGHUP; none of them is no refusal.

    What an agent that died meanwhile has not read must not refuse a file that is good now.
    """
    file.unlink(missing_ok=True)
    if mistakes:
        file.write_text(json.dumps(list(mistakes)))


def take_refusal(file: Path = REFUSAL_FILE) -> tuple[str, ...]:
    """Return the mistakes that `check` told, () when it told none; they are told once."""
    try:
        text = file.read_text()
        file.unlink()
        return tuple(str(mistake) for mistake in json.loads(text))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        return (f"what `llmagent check` found could not be read: {error}",)
