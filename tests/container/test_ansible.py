# SPDX-License-Identifier: Apache-2.0
"""The Ansible role on hosts with both Debians: installed, upgraded one by one, stopped, resumed."""

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
from tests.container.test_apt_repository import Repository, upgrades
from tests.rig import binds, paths, scripted
from tests.rig.container import Suite
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

    def run(
        self, limit: str, *options: str, newer: bool = True, **variables: Any
    ) -> tuple[int, str, dict[str, list[str]]]:
        """Returns the exit status, what was printed, and by host the names of what changed.

        Without `newer` it is this machine's own ansible-core, which may be that of Debian 12.
        """
        own = ["/usr/bin/python3", "-m", "ansible", "playbook"] if newer else ["ansible-playbook"]
        settings: dict[str, str | Path] = {
            **({"PYTHONPATH": paths.part("ansible")} if newer else {}),
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
                *own,
                *("--inventory", self._here / "hosts.json", ROLLOUT),
                *options,
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
    suites: dict[str, Suite] = {"gpu-01": "bookworm", "gpu-02": "trixie"}
    machines = {
        name: boot(suite, binds=[binds.scripted_engine(), upgrades(suite)])
        for name, suite in suites.items()
    }
    agents = {name: Agent(box) for name, box in machines.items()}
    for agent in agents.values():
        agent.box.run(["sh", "-c", PYTHON_APT], timeout=120)
        agent.give_a_model()
        scripted.set_scenario(agent.box, {})
    first, second = agents.values()
    # Of these there is no more than the name: whoever touches them does not reach them.
    leaders = {name: box.leader for name, box in machines.items()}
    play = Play(tmp_path, {"gpu-00": 0, **leaders, "gpu-03": 0})
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
    for options in (["--check"], []):
        status, said, changed = play.run("gpu-01,gpu-02", *options, newer=False, **wrong)
        assert status != 0
        assert "did you mean max_num_seqs?" in said
        assert "gpu-02" not in changed
    # So does a host that is not there.
    status, said, changed = play.run("gpu-00,gpu-01", "--check", newer=False, **now)
    assert status != 0
    assert "UNREACHABLE" in said
    assert "gpu-01" not in changed
    assert [agent.pid("vllm.service") for agent in (first, second)] == engines
    assert "max_num_seq " not in first.box.read(CONFIG)

    # A new version and new settings: the second host's engine does not do what is asked.
    repository = Repository(tmp_path)
    newer = packed(unpacked(deb(), tmp_path / "newer" / "llmagent"), NEXT)
    try:
        published = repository.publish(newer, repository.key, "file:/srv/apt")
    finally:
        repository.close()
    for agent in agents.values():
        agent.box.put(published, "/srv/apt")
        # The only archive that these reach.
        agent.box.run(["sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*"])
    wanted = configured(kv_cache_dtype="fp8")
    own = tmp_path / "while-drained.yml"
    own.write_text(OWN_TASKS)
    later = {**usual, "llmagent_version": NEXT, "llmagent_config": wanted}
    later["llmagent_apt_sources"] = str(published / "llmagent.sources")
    later["llmagent_tasks_drained"] = str(own)
    status, said, changed = play.run("gpu-01", "--check", newer=False, **later)
    assert status == 0, said
    assert re.search(r'"restarts": \[\s*"vllm.service"', said), said
    assert first.pid("vllm.service") == engines[0]
    assert "fp8" not in first.box.read(CONFIG)
    scripted.set_scenario(second.box, {"kv_cache_dtype": "auto"})
    status, said, changed = play.run("gpu-01,gpu-02", **later)
    assert status != 0, said
    assert "vllm does not run as asked" in said
    assert "Drain" in changed["gpu-01"]
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
    assert re.search(r"gpu-01 +: ok=\d+ +changed=0 +unreachable=0 +failed=0", said), said
    assert first.pid("vllm.service") == served
    version = ["dpkg-query", "--show", "--showformat=${Version}", "llmagent"]
    assert {agent.box.run(version).stdout for agent in (first, second)} == {NEXT}
    assert second.status()["phase"] == "serving"
