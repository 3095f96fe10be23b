# SPDX-License-Identifier: Apache-2.0
"""Whatever any function of NVML answers, or fails with, its reader goes on and shows plain text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.rig.nvsim import HostGpus
from tests.rig.paths import REPO

SEED, EACH = 20261129, 6
LEAST_FUNCTIONS = 30
"""The adapter asks for more than these."""


def test_no_answer_and_no_error_of_any_function_breaks_its_reader(tmp_path: Path) -> None:
    gpus = HostGpus(tmp_path)
    gpus.state.create("rtx4090", "rtx4090")
    told = subprocess.run(
        [sys.executable, "-m", "tests.given.hostile.odd_nvml", str(SEED), str(EACH)],
        check=True,
        capture_output=True,
        text=True,
        env=gpus.environment,
        cwd=REPO,
        timeout=300,
    )
    outcome = json.loads(told.stdout)
    assert outcome["found"] == {}
    assert outcome["tried"] > LEAST_FUNCTIONS * EACH
