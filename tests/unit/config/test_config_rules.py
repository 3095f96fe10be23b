# SPDX-License-Identifier: Apache-2.0
"""What must hold in agent.toml between keys and between services."""

import json

import pytest

from agent.config.agent_toml import parse
from agent.errors import ConfigError


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "agent.toml")
    return caught.value.mistakes


def service(*lines: str) -> str:
    return "\n".join(("[service.vllm]", 'model = "org/name"', *lines))


TWO = """
[service.one]
model = "a/b"
gpus = [0]
{one}
[service.two]
model = "a/b"
gpus = [{gpu}]
{two}
"""


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("", ""),
        ('host = "0.0.0.0"', 'host = "10.0.0.1"'),
        ('host = "localhost"', 'host = "127.0.0.1"'),
    ],
)
def test_two_services_cannot_listen_on_one_port(one: str, two: str) -> None:
    told = mistakes(TWO.format(one=one, two=two, gpu=1))
    assert told == (
        "line 6: service.two.port: 8000 is taken by service.one; give each service its own port",
    )


def test_two_services_may_use_one_port_on_different_addresses() -> None:
    text = TWO.format(one='host = "10.0.0.1"', two='host = "10.0.0.2"', gpu=1)
    assert len(parse(text, "agent.toml").services) == 2


def test_the_metrics_cannot_take_the_port_of_a_service() -> None:
    assert "where service.vllm listens" in mistakes(service("port = 9836"))[0]


def test_services_on_one_gpu_cannot_ask_for_more_than_all_of_it() -> None:
    asked = {"one": "gpu_memory_utilization = 0.5", "two": "gpu_memory_utilization = 0.6\nport=1"}
    told = mistakes(TWO.format(gpu=0, **asked))
    assert len(told) == 1
    assert "shares a GPU with service.one" in told[0]
    assert "1.10" in told[0]
    assert parse(TWO.format(gpu=1, **asked), "agent.toml")


def test_a_service_that_asks_for_nothing_counts_with_vllms_default() -> None:
    told = mistakes(TWO.format(gpu=0, one="gpu_memory_utilization = 0.3", two="port = 8001"))
    assert "service.two takes 0.92 unasked" in told[0]


@pytest.mark.parametrize(("tag", "fits"), [("v0.19.1", True), ("v0.32.0", False)])
def test_what_a_service_takes_unasked_depends_on_its_vllm(tag: str, *, fits: bool) -> None:
    """0.9 and 0.09 go on one card, 0.92 and 0.09 do not."""
    image = f'[service.one.engine]\nruntime = "podman"\nimage = "docker.io/vllm/vllm-openai:{tag}"'
    asked = "gpu_memory_utilization = 0.09\nport = 8001"
    text = TWO.format(gpu=0, one="", two=asked).replace("[service.two]", f"{image}\n[service.two]")
    if fits:
        assert len(parse(text, "agent.toml").services) == 2
    else:
        assert "together they ask for 1.01" in mistakes(text)[0]


def test_a_service_with_its_own_kv_cache_bytes_asks_for_no_share() -> None:
    asked = {"one": "gpu_memory_utilization = 0.5", "two": "kv_cache_memory_bytes=1000000000"}
    assert parse(
        TWO.format(gpu=0, **asked).replace("[service.two]", "[service.two]\nport = 1"), "x"
    )


def test_a_window_is_two_times_of_the_day() -> None:
    def told(value: str) -> tuple[str, ...]:
        return mistakes(service("[service.vllm.recovery]", f"probe_window = {value}"))

    assert 'as "03:00-05:00"' in told('"3 to 5"')[0]
    assert "is not" in told('"24:00-25:00"')[0]
    assert "is empty" in told('"03:00-03:00"')[0]
    text = service("[service.vllm.recovery]", 'probe_window = "23:30-02:00"')
    window = parse(text, "agent.toml").services["vllm"].recovery.probe_window
    assert str(window) == "23:30-02:00"


def test_a_floor_above_the_setting_asked_is_a_mistake() -> None:
    told = mistakes(
        service("max_model_len = 4096", "[service.vllm.recovery]", "min_max_model_len = 8192")
    )
    assert told == (
        "line 5: service.vllm.recovery.min_max_model_len: "
        "8192 is above the max_model_len asked, 4096",
    )


def test_default_limits_make_room_for_the_setting_asked() -> None:
    text = service("max_num_seqs = 4", "max_model_len = 512", "gpu_memory_utilization = 0.99")
    recovery = parse(text, "agent.toml").services["vllm"].recovery
    assert recovery.min_max_num_seqs == 4
    assert recovery.min_max_model_len == 512
    assert recovery.max_gpu_memory_utilization == 0.99


def test_a_least_wait_above_the_longest_is_a_mistake() -> None:
    told = mistakes(service("[service.vllm.recovery]", "backoff_min_seconds = 600"))
    assert "600.0 is above backoff_max_seconds, 300.0" in told[0]


@pytest.mark.parametrize("name", ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
@pytest.mark.parametrize("place", ["/data,destination=/etc", "/a:/b", "relative", "/a\nb"])
def test_a_place_for_downloads_cannot_become_another_mount(name: str, place: str) -> None:
    text = f"""
[service.vllm]
model = "org/m"
environment = {{ {name} = {json.dumps(place)} }}
[service.vllm.engine]
runtime = "podman"
image = "docker.io/vllm/vllm-openai:v0.32.0"
"""
    with pytest.raises(ConfigError) as refused:
        parse(text, "agent.toml")
    assert "environment" in str(refused.value)
