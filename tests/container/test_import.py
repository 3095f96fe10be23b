# SPDX-License-Identifier: Apache-2.0
"""An engine that somebody else's unit starts becomes llmagent's, and goes back if it cannot."""

from __future__ import annotations

import json

from tests.rig import scripted
from tests.rig.installed import CONFIG, Agent

UNIT = "/etc/systemd/system/vllm.service"
TEXT = f"""[Unit]
Description=mine
[Service]
EnvironmentFile=/etc/default/my-vllm
Environment=HOME=/root VLLM_LOGGING_LEVEL=INFO
Nice=5
ExecStart={scripted.PYTHON} -m vllm.entrypoints.openai.api_server --model /srv/llama \\
  --host 127.0.0.1 --port ${{PORT}} --max-model-len 4096 --gpu-memory-utilization 0.9
[Install]
WantedBy=multi-user.target
"""
MINE = "# my notes\n[metrics]\nhost = true\n"
CANNOT = "ValidationError: Cannot access gated repo for url https://huggingface.co/a/b/config.json."


def running(agent: Agent) -> tuple[str, str, int]:
    """Whether vllm.service is active, whether it starts at boot, and its process."""
    shown = agent.box.show("vllm.service", "ActiveState", "UnitFileState", "MainPID")
    return shown["ActiveState"], shown["UnitFileState"], int(shown["MainPID"])


def test_a_foreign_unit_is_taken_over_or_comes_back(agent: Agent) -> None:
    box = agent.box
    box.write(CONFIG, MINE)
    box.write("/etc/default/my-vllm", "PORT=8000\nHF_TOKEN=hf_abcdefghijkl\n")
    box.write(UNIT, TEXT)
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "enable", "--now", "vllm.service"])
    before = running(agent)
    assert before[:2] == ("active", "enabled")

    # a look changes nothing, and the process leads to the same table as the unit
    said = box.run(["llmagent", "import", "vllm.service", "--format", "json"])
    table = json.loads(said.stdout)["services"]["vllm"]
    of_process = box.run(["llmagent", "import", str(before[2]), "--format", "json"])
    found = json.loads(of_process.stdout)["services"]["vllm"]
    assert {key: found[key] for key in ("model", "port", "python")} == {
        key: table[key] for key in ("model", "port", "python")
    }
    assert "hf_abcdefghijkl" not in said.stdout + said.stderr + of_process.stdout
    doctor = box.run(["llmagent", "doctor", "--offline"], check=False).stdout
    assert "llmagent import vllm.service" in doctor
    assert running(agent) == before

    # ours cannot start: everything is as before
    gated = {"fail_at": "import", "fail_lines": [CANNOT]}
    scripted.set_scenario(box, gated)
    tried = box.run(
        ["llmagent", "import", "vllm.service", "--take-over", "--yes"], check=False, timeout=120
    )
    assert tried.returncode == 1, tried.stderr
    assert "vllm.service is as it was before" in tried.stderr, tried.stderr[-1500:]
    scripted.set_scenario(box, {})
    box.run(["systemctl", "restart", "vllm.service"])
    assert running(agent)[:2] == before[:2]
    assert box.read(CONFIG) == MINE
    assert box.read(UNIT) == TEXT

    # Ctrl-C while ours starts: the same
    scripted.set_scenario(box, {"phase_seconds": {"load": 60}})
    broken_off = box.run(
        [
            *("timeout", "--preserve-status", "--signal=INT", "16"),
            *("llmagent", "import", "vllm.service", "--take-over", "--yes"),
        ],
        check=False,
        timeout=120,
    )
    scripted.set_scenario(box, {})
    assert "vllm.service is as it was before" in broken_off.stderr, broken_off.stderr[-1500:]
    assert running(agent)[:2] == before[:2]
    assert (box.read(CONFIG), box.read(UNIT)) == (MINE, TEXT)
    assert not box.exists("/etc/llmagent/hf_token")

    # ours can start
    done = box.run(
        ["llmagent", "import", "vllm.service", "--take-over", "--yes"], check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "serves after" in done.stderr
    assert f"mv {UNIT}.before-llmagent {UNIT}" in done.stderr
    assert agent.status()["phase"] == "serving"
    assert box.read(CONFIG).startswith(MINE)
    assert box.read(f"{UNIT}.before-llmagent") == TEXT
    assert box.run(["readlink", UNIT]).stdout.strip() == "/etc/llmagent/units/vllm.service"
    assert box.run(["llmagent", "check"], check=False).returncode == 0
    token = box.run(["stat", "-c", "%a %U", "/etc/llmagent/hf_token"]).stdout.strip()
    assert token == "600 root"
