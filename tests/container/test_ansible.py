# SPDX-License-Identifier: Apache-2.0
"""The Ansible role on booted hosts: installed, changed, upgraded one by one, stopped, resumed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.conftest import Boot
from tests.container.test_apt_repository import upgrades
from tests.rig import binds, paths, scripted
from tests.rig.installed import CONFIG, OURS, QUICK, Agent, deb
from tests.rig.repacked import packed, unpacked

ROLLOUT: Final = paths.REPO / "packaging/ansible/rollout.yml"
NEXT: Final = "9.0.0"
PASSWORD: Final = "/etc/llmagent/fleet.password"
PYTHON_APT: Final = (
    "cd /srv/upgrades && apt-get install -y --no-install-recommends"
    " ./python3-apt_*.deb ./python-apt-common_*.deb ./distro-info-data_*.deb"
)
"""What Ansible's apt module needs, and what it fetches by itself where there is a network."""

OWN_TASKS: Final = """\
- name: Work with the services down
  ansible.builtin.shell: "systemctl is-active vllm > /tmp/while-drained || true"
"""


class Play:
    """The rollout over machines: the PID of each one's systemd by its name."""

    def __init__(self, here: Path, leaders: Mapping[str, int]) -> None:
        self._here = here
        hosts = {name: {"ansible_host": pid} for name, pid in leaders.items()}
        reach = {
            "ansible_become": False,
            "ansible_ssh_executable": str(paths.RIG / "machine-ssh"),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inventory = {"llmagent": {"hosts": hosts, "vars": reach}}
        (here / "hosts.json").write_text(json.dumps(inventory))

    def run(self, limit: str = "all", **variables: Any) -> tuple[int, str, dict[str, list[str]]]:
        """Returns the exit status, what was printed, and by host the names of what changed."""
        settings: dict[str, str | Path] = {
            "ANSIBLE_HOME": self._here / "ansible",
            "ANSIBLE_LOCAL_TEMP": self._here / "local",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            [
                *("ansible-playbook", "--inventory", self._here / "hosts.json", ROLLOUT),
                *("--limit", limit, "--extra-vars", json.dumps(variables)),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=400,
            env={**os.environ, **settings},
        )
        changed: dict[str, list[str]] = {}
        for task in re.split(r"(?m)^(?:TASK|RUNNING HANDLER|PLAY) ", done.stdout)[1:]:
            name = task.partition("[")[2].partition("]")[0].removeprefix("llmagent : ")
            for word, host in re.findall(
                r"(?m)^(ok|changed|fatal|failed|unreachable): \[([\w-]+)", task
            ):
                changed.setdefault(host, []).extend([name] if word == "changed" else [])
        return done.returncode, done.stdout + done.stderr, changed


def configured(**settings: Any) -> dict[str, Any]:
    """Returns the tables of agent.toml as an inventory would have them."""
    recovery = tomllib.loads(QUICK)
    service = {"model": "/srv/llama", "python": scripted.PYTHON, "port": 8000, **OURS, **settings}
    fleet = {"hosts": ["127.0.0.1:9836", "away:1"], "user": "fleet", "password_file": PASSWORD}
    return {"service": {"vllm": {**service, "recovery": recovery}}, "fleet": fleet}


def test_hosts_are_upgraded_one_by_one_until_one_fails_and_the_next_run_goes_on_from_there(
    boot: Boot, tmp_path: Path
) -> None:
    seen = [binds.scripted_engine(), upgrades("bookworm")]
    machines = {f"gpu-0{number}": boot("bookworm", binds=seen) for number in (1, 2)}
    agents = {name: Agent(box) for name, box in machines.items()}
    for agent in agents.values():
        agent.box.run(["sh", "-c", PYTHON_APT], timeout=120)
        agent.give_a_model()
        scripted.set_scenario(agent.box, {})
    first, second = agents.values()
    # Of the third there is no more than its name: whoever touches it does not reach it.
    play = Play(tmp_path, {**{name: box.leader for name, box in machines.items()}, "gpu-03": 0})
    usual: dict[str, Any] = {
        "llmagent_look_seconds": 1,
        "llmagent_doctor_options": ["--offline"],
        "llmagent_unknown_passes": True,
        "llmagent_files": [{"dest": PASSWORD, "content": "secret"}],
    }
    now = {**usual, "llmagent_deb": str(deb()), "llmagent_config": configured()}

    status, said, _ = play.run("gpu-01,gpu-02", **now, llmagent_serial=2)
    assert status == 0, said
    assert first.status()["phase"] == second.status()["phase"] == "serving"
    engines = [agent.pid("vllm.service") for agent in (first, second)]
    # Its page asks the hosts that it was told of, this one among them, by a program of its own.
    fleet = json.loads(first.box.http_get(9836, "/fleet.json").body)
    assert fleet["summary"] == "2 hosts: 1 does not answer, 1 is well"
    assert [host["level"] for host in fleet["hosts"]] == ["away", "well"]
    assert "secret" not in said + first.box.read("/run/llmagent/status.json")

    # What `check` refuses stops the play on the first host, and stops no engine.
    wrong = {**now, "llmagent_config": configured(max_num_seq=8)}
    status, said, changed = play.run("gpu-01,gpu-02", **wrong)
    assert status != 0
    assert "did you mean max_num_seqs?" in said
    assert "gpu-02" not in changed
    assert [agent.pid("vllm.service") for agent in (first, second)] == engines
    assert "max_num_seq " not in first.box.read(CONFIG)

    # A new version and new settings: the second host's engine does not do what is asked.
    newer = packed(unpacked(deb(), tmp_path / "newer" / "llmagent"), NEXT)
    wanted = configured(kv_cache_dtype="fp8")
    own = tmp_path / "while-drained.yml"
    own.write_text(OWN_TASKS)
    later = {**usual, "llmagent_deb": str(newer), "llmagent_config": wanted}
    later["llmagent_tasks_drained"] = str(own)
    scripted.set_scenario(second.box, {"kv_cache_dtype": "auto"})
    status, said, changed = play.run(**later)
    assert status != 0, said
    assert "vllm does not run as asked" in said
    assert "Drain" in changed["gpu-01"]
    assert "gpu-03" not in changed
    assert first.box.read("/tmp/while-drained") == "inactive\n"
    assert first.pid("vllm.service") not in (0, engines[0])
    assert scripted.starts(first.box)[-1].value("--kv-cache-dtype") == "fp8"
    assert len(scripted.starts(first.box)) == 2
    assert any("drained by root" in event["message"] for event in first.events())

    # Its cause is cured; the same command goes on from there, and leaves the first as it is.
    scripted.set_scenario(second.box, {})
    second.box.run(["llmagent", "restart", "vllm"])
    served = first.pid("vllm.service")
    status, said, changed = play.run("gpu-01,gpu-02", **later)
    assert status == 0, said
    assert changed["gpu-01"] == []
    assert first.pid("vllm.service") == served
    version = ["dpkg-query", "--show", "--showformat=${Version}", "llmagent"]
    assert {agent.box.run(version).stdout for agent in (first, second)} == {NEXT}
    assert second.status()["phase"] == "serving"
