# SPDX-License-Identifier: Apache-2.0
"""Real vLLM under the unit as it is rendered, confined as far as it can be."""

import json
from collections.abc import Iterator

import pytest

from tests.conftest import Boot
from tests.rig import binds, paths
from tests.rig.container import Container

MODEL = "/srv/models/tiny-llama-awq"
CONFIG = f"""
[service.vllm]
model = "{MODEL}"
kv_cache_dtype = "fp8"
max_model_len = 512
max_num_seqs = 4
gpu_memory_utilization = 0.2
enforce_eager = true
"""
START_SECONDS = 400


@pytest.fixture(scope="module")
def box(boot_for_module: Boot) -> Container:
    machine = boot_for_module("bookworm", binds=[binds.vllm(), binds.models(), binds.agent_code()])
    machine.put(paths.REPO / "packaging/bin/llmagent", "/usr/bin/llmagent")
    machine.run(["useradd", "--system", "--no-create-home", "vllm"])
    # As on a server: an address and a default route, which vLLM prefers for talking to itself.
    machine.run(["ip", "address", "add", "10.9.9.9/24", "dev", "lo"])
    machine.run(["ip", "route", "add", "default", "dev", "lo", "src", "10.9.9.9"])
    machine.write("/etc/llmagent/agent.toml", CONFIG)
    return machine


@pytest.fixture(scope="module")
def serving(box: Container) -> Iterator[Container]:
    """The machine once real vLLM serves, started by what `llmagent render` printed."""
    unit = box.run(["llmagent", "render", "vllm"], timeout=60).stdout
    box.write("/etc/llmagent/units/vllm.service", unit)
    box.run(["systemctl", "link", "/etc/llmagent/units/vllm.service"])
    box.run(["systemctl", "start", "vllm.service"])
    box.wait_for(
        lambda: box.http_get(8000, "/health").status == 200 or not running(box),
        START_SECONDS,
        "vLLM to serve or to end",
    )
    assert running(box), box.journal("vllm.service")[-4000:]
    yield box
    box.run(["systemctl", "kill", "--signal=SIGKILL", "vllm.service"], check=False)


def running(box: Container) -> bool:
    return box.show("vllm.service", "SubState")["SubState"] == "running"


def test_it_answers_a_completion(serving: Container) -> None:
    asked = {"model": MODEL, "prompt": "hello", "max_tokens": 4, "ignore_eos": True}
    answer = serving.http_post(8000, "/v1/completions", asked, timeout=120)
    assert answer.status == 200
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 4


def test_what_was_configured_is_what_the_engine_says_it_runs(serving: Container) -> None:
    journal = serving.journal("vllm.service")
    assert "kv_cache_dtype=fp8" in journal
    assert "max_seq_len=512" in journal
    assert "\x1b[" not in journal


def test_it_talks_to_nobody_but_itself(serving: Container) -> None:
    peers = serving.run(["ss", "--no-header", "--numeric", "--tcp", "state", "established"]).stdout
    addresses = {line.split()[3].rpartition(":")[0] for line in peers.splitlines()}
    assert addresses <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}


def test_everything_it_keeps_is_in_its_own_directories(serving: Container) -> None:
    places = ["/etc", "/home", "/opt/llmagent", "/root", "/srv", "/tmp", "/usr", "/var"]
    found = serving.run(["find", *places, "-xdev", "-user", "vllm"], check=False).stdout
    strays = {
        path
        for path in found.splitlines()
        if not path.startswith(("/var/lib/vllm", "/var/cache/vllm", "/tmp/systemd-private-"))
        and not path.startswith("/var/tmp/systemd-private-")
    }
    assert strays == set()


def test_check_refuses_a_flag_that_this_vllm_does_not_have(serving: Container) -> None:
    serving.write("/root/wrong.toml", f'{CONFIG}extra_args = ["--max-num-sequence=3"]\n')
    done = serving.run(["llmagent", "check", "/root/wrong.toml"], check=False, timeout=300)
    assert done.returncode == 2
    assert "no --max-num-sequence: did you mean --max-num-seqs?" in done.stdout
    good = serving.run(["llmagent", "check"], check=False, timeout=60)
    assert (good.returncode, good.stdout) == (
        0,
        "/etc/llmagent/agent.toml: ok, vllm.service on 127.0.0.1:8000\n",
    )
    owner = serving.run(["stat", "-c", "%U", "/var/lib/llmagent/engine-help"]).stdout.strip()
    assert owner == "root"


def test_a_stop_lets_requests_in_flight_end(serving: Container) -> None:
    asked = {"model": MODEL, "prompt": "hello", "max_tokens": 400, "n": 64, "ignore_eos": True}
    body = json.dumps({**asked, "stream": True})
    curl = ["curl", "-sN", "-o", "/root/answer", "-H", "Content-Type: application/json"]
    with serving.popen([*curl, "-d", body, "http://127.0.0.1:8000/v1/completions"]) as client:
        begun = ["grep", "-q", "^data: {", "/root/answer"]
        serving.wait_for(lambda: serving.run(begun, check=False).returncode == 0, 60, "tokens")
        serving.run(["systemctl", "stop", "vllm.service"], timeout=120)
        assert client.wait(60) == 0
    assert serving.read("/root/answer").rstrip().endswith("data: [DONE]")
    assert serving.show("vllm.service", "Result", "ActiveState") == {
        "Result": "success",
        "ActiveState": "inactive",
    }


def test_a_stop_during_start_up_does_not_wait_for_a_deadline(serving: Container) -> None:
    serving.run(["systemctl", "start", "vllm.service"])
    serving.wait_for(
        lambda: "Initializing a V1 LLM engine" in this_run(serving), START_SECONDS, "the engine"
    )
    serving.run(["systemctl", "stop", "vllm.service"], timeout=120)
    assert serving.show("vllm.service", "Result") != {"Result": "timeout"}
    assert serving.run(["pgrep", "-u", "vllm"], check=False).stdout == ""


def this_run(box: Container) -> str:
    invocation = box.show("vllm.service", "InvocationID")["InvocationID"]
    argv = [
        "journalctl",
        "--no-pager",
        "--all",
        "-o",
        "cat",
        f"_SYSTEMD_INVOCATION_ID={invocation}",
    ]
    return box.run(argv).stdout
