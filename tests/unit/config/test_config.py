# SPDX-License-Identifier: Apache-2.0
"""What agent.toml may say, and how its mistakes are told."""

from dataclasses import fields
from pathlib import Path

import pytest

from agent.config.agent_toml import load, parse
from agent.config.cluster_table import CLUSTER
from agent.config.engine_table import ENGINE
from agent.config.service import EXPECT, RECOVERY, SETTINGS
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.config import Config, Metrics
from agent.core.settings.engine import EngineSettings
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Expectations, OnMismatch, Sandbox, Settings
from agent.errors import ConfigError

FULL = """
[service.vllm]
model = "meta-llama/Llama-3.1-8B-Instruct"
quantization = "fp8"
kv_cache_dtype = "fp8"
max_model_len = 65536
max_num_seqs = 32
gpu_memory_utilization = 0.92
gpus = [0, "GPU-8a3f1c2e-0000-1111-2222-333344445555"]
tensor_parallel_size = 2
host = "127.0.0.1"
port = 8000
python = "/opt/vllm/bin/python"
extra_args = ["--seed", "1"]
environment = { OMP_NUM_THREADS = "4" }
hf_token_file = "/etc/llmagent/hf_token"
sandbox = "basic"
[service.vllm.expect]
on_mismatch = "stop"
linear_kernel = "marlin"
[service.vllm.recovery]
min_gpu_memory_utilization = 0.8
backoff_max_seconds = 60
[metrics]
listen = "[::1]:9836"
web_config_file = "/etc/llmagent/web.yml"
"""


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "agent.toml")
    return caught.value.mistakes


def service(*lines: str) -> str:
    return "\n".join(("[service.vllm]", 'model = "org/name"', *lines))


def settings(*lines: str) -> Settings:
    return parse(service(*lines), "agent.toml").services["vllm"].settings


TLS = ('ssl_certfile = "/c"', 'ssl_keyfile = "/k"')
CLIENT = ('client_certfile = "/a"', 'client_keyfile = "/b"')


def test_clients_are_known_by_certificates_when_the_agent_has_one_too() -> None:
    found = settings(*TLS, *CLIENT, 'ssl_ca_certs = "/ca"', "ssl_cert_reqs = 2")
    assert (found.ssl_cert_reqs, found.client_certfile, found.client_keyfile) == (2, "/a", "/b")
    assert settings("ssl_cert_reqs = 0").ssl_cert_reqs == 0


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((*TLS, 'ssl_ca_certs = "/ca"', "ssl_cert_reqs = 2"), "refuses llmagent's own requests"),
        ((*TLS, *CLIENT, "ssl_cert_reqs = 1"), "ssl_cert_reqs: vLLM knows no client"),
        ((*CLIENT,), "client_certfile: means nothing without ssl_certfile"),
        ((*TLS, 'client_certfile = "/a"'), "means nothing without client_keyfile"),
        ((*TLS, 'client_keyfile = "/a"'), "means nothing without client_certfile"),
        (("ssl_cert_reqs = 3",), "ssl_cert_reqs"),
    ],
)
def test_half_of_what_clients_certificates_need_is_refused_with_the_other_half(
    lines: tuple[str, ...], said: str
) -> None:
    assert said in mistakes(service(*lines))[0]


def test_every_key_of_the_dataclasses_can_be_written_in_the_file() -> None:
    assert set(SETTINGS) == {item.name for item in fields(Settings)} - {"name", "engine", "cluster"}
    assert set(CLUSTER) == {item.name.removesuffix("_asked") for item in fields(ClusterSettings)}
    assert set(ENGINE) == {item.name for item in fields(EngineSettings)}
    assert set(EXPECT) == {item.name for item in fields(Expectations)}
    assert set(RECOVERY) == {item.name for item in fields(Recovery)}


def test_a_whole_file_is_read() -> None:
    config = parse(FULL, "agent.toml")
    policy = config.services["vllm"]
    assert policy.settings.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert policy.settings.gpus == ("0", "GPU-8a3f1c2e-0000-1111-2222-333344445555")
    assert policy.settings.environment == {"OMP_NUM_THREADS": "4"}
    assert policy.settings.sandbox is Sandbox.BASIC
    assert policy.expect == Expectations(on_mismatch=OnMismatch.STOP, linear_kernel="marlin")
    assert policy.recovery.min_gpu_memory_utilization == 0.8
    assert policy.recovery.backoff_max_seconds == 60.0
    assert config.metrics == Metrics("::1", 9836, "/etc/llmagent/web.yml")
    assert config.metrics.listen == "[::1]:9836"


def test_an_empty_file_configures_no_service_and_the_default_metrics() -> None:
    assert parse("# nothing\n", "agent.toml") == Config()


def test_several_services_keep_the_order_of_the_file() -> None:
    text = """
    [service.zeta]
    model = "/srv/models/a"
    gpus = [0]
    [service.alpha]
    model = "/srv/models/b"
    gpus = [1]
    port = 8001
    """
    assert list(parse(text, "agent.toml").services) == ["zeta", "alpha"]


def test_all_mistakes_are_told_at_once_each_with_its_line_and_path() -> None:
    text = """[service.vllm]
model = "org/name"
max_num_sequences = 32
gpu_memory_utilization = 92
[service.vllm.expect]
on_mismatch = "alarm"
[service.vllm.recovery]
max_starts_per_hour = 0
[metrics]
listen = "9836"
"""
    assert mistakes(text) == (
        "line 3: service.vllm.max_num_sequences: unknown key; did you mean max_num_seqs?",
        "line 4: service.vllm.gpu_memory_utilization: 92 is above 1; it is a share, as 0.92",
        "line 6: service.vllm.expect.on_mismatch: 'alarm' is not one of alert, stop; "
        "did you mean alert?",
        "line 8: service.vllm.recovery.max_starts_per_hour: 0 must be from 1 to 3600",
        'line 10: metrics.listen: \'9836\' is not "host:port", as "127.0.0.1:9836"',
    )


def test_a_missing_key_is_told_with_the_line_of_its_table() -> None:
    assert mistakes("\n[service.vllm]\nport = 8000\n") == (
        'line 2: service.vllm.model: missing; give a hub id "org/name" or the absolute path of a '
        "model",
    )


def test_lines_are_counted_right_after_a_multi_line_string() -> None:
    text = 'x = """\n[service.other]\nport = 3\n"""\n[service.vllm]\nmodel = "a/b"\nprt = 1\n'
    assert mistakes(text)[1] == "line 7: service.vllm.prt: unknown key; did you mean port?"


def test_a_syntax_error_is_told_with_line_and_column() -> None:
    assert mistakes("[service.vllm]\nmodel 3\n") == (
        "line 2, column 7: Expected '=' after a key in a key/value pair: TOML has lines like "
        "key = value; this may be YAML or another file",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[service.vllm]\nmodel = meta/Llama\n", "a string stands in quotes"),
        ('[service.vllm]\nmodel = "a/b"\nmodel = "c/d"\n', "a key is given twice"),
        ('[metrics]\n[service.a]\nmodel = "a/b"\n[metrics]\n', "a table is given twice"),
        ("services:\n  vllm:\n    image: x\n", "this may be YAML"),
    ],
)
def test_the_parsers_words_come_with_what_to_do(text: str, told: str) -> None:
    (mistake,) = mistakes(text)
    assert told in mistake


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes(b"\xef\xbb\xbf[metrics]\nhost = false\n")
    assert not load(tmp_path / "agent.toml").metrics.host


def test_a_file_that_ends_too_early_is_told_so() -> None:
    assert mistakes("[metrics]\nlisten =") == ("line 2: Invalid value, but the file ends here",)


def test_a_key_that_belongs_to_another_table_is_sent_there() -> None:
    assert mistakes(service("settle_seconds = 3", 'linear_kernel = "marlin"')) == (
        "line 3: service.vllm.settle_seconds: unknown key here; "
        "it belongs to [service.vllm.recovery]",
        "line 4: service.vllm.linear_kernel: unknown key here; it belongs to [service.vllm.expect]",
    )


def test_an_option_of_vllm_without_a_key_is_sent_to_extra_args() -> None:
    assert "extra_args" in mistakes(service("block_size = 16"))[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("port = true", "true is not an integer"),
        ("port = 0", "0 must be from 1 to 65535"),
        ("port = 65536", "65536 must be from 1 to 65535"),
        ("port = 8000.0", "8000.0 is not an integer"),
        ("gpu_memory_utilization = true", "true is not a number"),
        ("gpu_memory_utilization = 0", "0 must be above 0 and at most 1"),
        ("gpu_memory_utilization = nan", "nan must be above 0 and at most 1"),
        ("max_model_len = 0", "0 must be at least 1"),
        ("enforce_eager = 1", "1 is not true or false"),
        ('tokenizer = "Llama"', "neither a hub id"),
        ('tokenizer = "./models/llama"', "neither a hub id"),
        ('python = "bin/python"', "is not an absolute path"),
        ('python = "/opt/$HOME/python"', "holds more than letters"),
        ("gpus = []", "neither"),
        ('gpus = "0"', "neither"),
        ("gpus = [0, 0]", "listed twice"),
        ("gpus = [true]", "neither a GPU index"),
        ('user = "root"', "must not run as root"),
        ('dtype = "fp16"', "is not one of auto, half, float16"),
        ('host = "http://x"', "is not an IP address or a host name"),
        ("tensor_parallel_size = 2\ngpus = [0]", "needs 2"),
        ('served_model_name = "a\\nb"', "holds a control character"),
        ("chat_template = '/a\"b'", "holds a quote or a backslash"),
        ('revision = ""', "must not be empty"),
        ('extra_args = "--seed 1"', "is not a list of strings"),
        ("environment = { A = 1 }", "is not a string; put it in quotes"),
        ('environment = { "A B" = "1" }', "is not the name of an environment variable"),
        ('environment = { HF_HOME = "models" }', "is not an absolute path"),
        ('environment = { CUDA_VISIBLE_DEVICES = "0" }', "use gpus"),
        ('environment = { VLLM_ENABLE_STARTUP_PLAN = "1" }', "use recovery.reuse_profile"),
        ('sandbox = "stric"', "did you mean strict?"),
    ],
)
def test_a_wrong_value_is_refused(line: str, said: str) -> None:
    found = [one for one in mistakes(service(line)) if said in one]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--max-model-len=4096", "has a key of its own here: max_model_len"),
        ("--max_model_len", "has a key of its own here: max_model_len"),
        ("-tp", "has a key of its own here: tensor_parallel_size"),
        ("--no-enable-prefix-caching", "has a key of its own here: enable_prefix_caching"),
        ("--api-key=abc", "use api_key_file"),
        ("--hf-token", "use hf_token_file"),
        ("--ssl-keyfile=/k", "has a key of its own here: ssl_keyfile"),
    ],
)
def test_an_extra_argument_that_would_hide_a_setting_or_show_a_secret_is_refused(
    argument: str, said: str
) -> None:
    assert said in mistakes(service(f'extra_args = ["{argument}"]'))[0]


def test_gpus_are_counted_by_the_whole_command_line() -> None:
    line = 'gpus = [0, 1]\ntensor_parallel_size = 2\nextra_args = ["-pcp", "2"]'
    (told,) = mistakes(service(line))
    assert "needs 4" in told


@pytest.mark.parametrize(
    "line",
    [
        'environment = { HF_TOKEN = "hf_QQQQQQQQQQQQ" }',
        'environment = { HUGGING_FACE_HUB_TOKEN = "hf_QQQQQQQQQQQQ" }',
        'environment = { VLLM_API_KEY = "hf_QQQQQQQQQQQQ" }',
        'environment = { AWS_SECRET_ACCESS_KEY = "hf_QQQQQQQQQQQQ" }',
        'environment = { HARMLESS = "hf_QQQQQQQQQQQQ" }',
        'extra_args = ["--x", "hf_QQQQQQQQQQQQ"]',
        'hf_token_file = "hf_QQQQQQQQQQQQ"',
        'chat_template = "hf_QQQQQQQQQQQQ"',
    ],
)
def test_a_secret_in_plain_view_is_refused_and_not_repeated(line: str) -> None:
    told = mistakes(service(line))
    assert len(told) == 1
    assert "QQQ" not in told[0]


def test_variables_that_only_sound_like_secrets_are_taken() -> None:
    taken = settings(
        'environment = { TOKENIZERS_PARALLELISM = "false", HF_HUB_DISABLE_IMPLICIT_TOKEN = "1" }'
    )
    assert set(taken.environment) == {"TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_IMPLICIT_TOKEN"}


@pytest.mark.parametrize("name", ["ssh", "dbus", "llmagent", "systemd-journald", "nvidia-smi"])
def test_a_service_cannot_take_the_name_of_a_unit_of_the_system(name: str) -> None:
    assert "belongs to the system" in mistakes(f'[service.{name}]\nmodel = "a/b"')[0]


def test_a_service_must_have_a_name_that_a_unit_can_have() -> None:
    assert "becomes the name of a unit" in mistakes('[service."a b"]\nmodel = "a/b"')[0]


def test_a_key_directly_below_service_is_told_to_need_a_table() -> None:
    assert "write [service.NAME]" in mistakes("[service]\nport = 8000")[0]


def test_an_unknown_table_is_told_with_the_nearest() -> None:
    assert mistakes("[services.vllm]\n") == ("line 1: services: unknown; did you mean service?",)


def test_a_file_that_is_not_there_is_told_like_any_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path}/none.toml: cannot be read: No such file or directory"
    assert caught.value.exit_status == 2


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"# fine\n# \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a.toml")
    assert caught.value.mistakes == ("line 2: is not UTF-8",)
