# SPDX-License-Identifier: Apache-2.0
"""`llmagent check` and `llmagent render`."""

import json
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.config.agent_toml import parse
from agent.core.engine.install import EngineInstall
from agent.core.settings.config import Config
from agent.errors import HostLacksError
from agent.tasks.check_config import Obstacle, Severity, check_config
from tests.given.some_host import readable_host

USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
HELP = """
  --host HOST
  --port PORT
  --max-num-seqs N, --shutdown-timeout N, --disable-access-log-for-endpoints X
"""


@pytest.fixture
def host() -> Iterator[Path]:
    """A place that every user may read, with a virtual environment and a model in it."""
    with readable_host("python") as root:
        yield root


def text(host: Path, *lines: str) -> str:
    fixed = (f'model = "{host}/model"', f'python = "{host}/venv/bin/python"', f'user = "{USER}"')
    return "\n".join(("[service.vllm-test]", *fixed, *lines, ""))


def file(host: Path, *lines: str) -> str:
    (host / "agent.toml").write_text(text(host, *lines))
    return str(host / "agent.toml")


def config(host: Path, *lines: str) -> Config:
    return parse(text(host, *lines), "agent.toml")


def findings(host: Path, *lines: str) -> list[Obstacle]:
    return list(check_config(config(host, *lines), run_engine_help=None))


def prints_help(_install: EngineInstall, _user: str) -> str:
    return HELP


def cannot_start(_install: EngineInstall, _user: str) -> str:
    raise HostLacksError("it cannot start")


def test_a_host_that_has_everything_is_ok(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--no-engine", file(host)]) == 0
    said = capsys.readouterr().out
    assert said == f"{host}/agent.toml: ok, vllm-test.service on 127.0.0.1:8000\n"


def test_a_file_without_a_service_is_ok_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.toml").touch()
    assert main(["check", str(tmp_path / "agent.toml")]) == 0
    assert "no service is configured" in capsys.readouterr().out


def test_mistakes_are_printed_all_at_once(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", file(host, "port = 0", "max_num_seq = 3")]) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"{host}/agent.toml: line 5: service.vllm-test.port: 0 must be from 1 to 65535",
        f"{host}/agent.toml: line 6: service.vllm-test.max_num_seq: unknown key; "
        "did you mean max_num_seqs?",
    ]


def test_the_json_form_tells_the_same(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file(host, 'extra_args = ["--swap-space=4"]', 'host = "0.0.0.0"')
    assert main(["check", "--no-engine", "--format", "json", path]) == 2
    report = json.loads(capsys.readouterr().out)
    assert (report["file"], report["ok"], report["services"]) == (path, False, ["vllm-test"])
    assert report["mistakes"] == []
    assert [(item["path"], item["severity"]) for item in report["findings"]] == [
        ("service.vllm-test.extra_args", "error"),
        ("service.vllm-test.host", "warning"),
    ]


def test_a_flag_that_the_engines_help_lacks_is_refused_with_the_nearest(host: Path) -> None:
    asked = config(host, 'extra_args = ["--max-num-sequence", "3"]', "max_model_len = 4096")
    found = check_config(asked, run_engine_help=prints_help)
    assert [(one.path, one.severity) for one in found] == [
        ("service.vllm-test.max_model_len", Severity.ERROR),
        ("service.vllm-test.extra_args", Severity.ERROR),
    ]
    assert "did you mean --max-num-seqs?" in found[1].text


def test_keys_behind_a_short_name_that_is_gone_are_refused_with_the_long_one(host: Path) -> None:
    asked = config(host, 'extra_args = ["-O.mode=3"]')
    for reader in (prints_help, None):
        (found,) = check_config(asked, run_engine_help=reader)
        assert (found.path, found.severity) == ("service.vllm-test.extra_args", Severity.ERROR)
        assert "write --compilation-config. in its place" in found.text


def test_an_engine_that_prints_no_help_is_a_warning_and_its_version_tells(host: Path) -> None:
    asked = config(host, 'extra_args = ["--swap-space=4", "--unheard-of"]')
    found = check_config(asked, run_engine_help=cannot_start)
    assert [one.severity for one in found] == [Severity.WARNING, Severity.ERROR]
    assert "removed in 0.18" in found[1].text


def test_a_token_that_others_may_read_is_refused(host: Path) -> None:
    token = host / "token"
    token.write_text("hf_x")
    token.chmod(0o640)
    (found,) = findings(host, f'hf_token_file = "{token}"')
    assert (found.path, found.severity) == ("service.vllm-test.hf_token_file", Severity.ERROR)
    assert f"chmod 600 {token}" in found.text
    token.chmod(0o600)
    assert findings(host, f'hf_token_file = "{token}"') == []


def test_a_token_file_that_is_missing_or_empty_is_refused(host: Path) -> None:
    token = host / "token"
    assert "is no file" in findings(host, f'hf_token_file = "{token}"')[0].text
    token.touch(mode=0o600)
    assert "is empty" in findings(host, f'hf_token_file = "{token}"')[0].text


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can ask for another user")
def test_weights_that_the_services_user_cannot_read_are_refused(host: Path) -> None:
    weights = host / "model/model.safetensors"
    weights.touch(mode=0o600)
    (found,) = findings(host)
    assert f"user {USER} cannot read" in found.text
    assert str(weights) in found.text
    assert "chmod -R a+rX" in found.text


def test_a_share_that_is_taken_unasked_counts_beside_a_neighbours(host: Path) -> None:
    """vLLM 0.32 takes 0.92 unasked: 0.07 beside it leaves too little for contexts."""
    one = text(host, "gpus = [0]")
    two = one.replace("[service.vllm-test]", "[service.other]")
    both = f"{one}\n{two}\nport = 8001\ngpu_memory_utilization = 0.07\n"
    told = [str(found) for found in check_config(parse(both, "x"), run_engine_help=None)]
    assert any("0.99 of it is asked for" in said for said in told), told


def test_a_directory_that_is_no_model_is_refused(host: Path) -> None:
    (host / "model/config.json").unlink()
    assert "holds no config.json" in findings(host)[0].text
    (host / "model").rmdir()
    assert "does not exist" in findings(host)[0].text


def test_a_user_and_an_interpreter_that_are_missing_are_both_told(host: Path) -> None:
    text = f'[service.x]\nmodel="{host}/model"\nuser="no-such-user"\npython="/no/python"'
    found = check_config(parse(text, "x"), run_engine_help=prints_help)
    assert [one.path for one in found] == ["service.x.user", "service.x.python"]


@pytest.mark.parametrize(
    ("line", "path", "severity", "said"),
    [
        ("port = 80", "port", Severity.ERROR, "is for root only"),
        ('host = "0.0.0.0"', "host", Severity.WARNING, "everyone who reaches this host"),
        (
            "environment = { HF_HUB_ENABLE_HF_TRANSFER = '1' }",
            "environment",
            Severity.WARNING,
            "HF_XET_HIGH_PERFORMANCE",
        ),
    ],
)
def test_what_would_fail_or_surprise_tonight_is_told(
    host: Path, line: str, path: str, severity: Severity, said: str
) -> None:
    (found,) = findings(host, line)
    assert (found.path, found.severity) == (f"service.vllm-test.{path}", severity)
    assert said in found.text


def test_asking_old_vllm_for_plain_awq_is_told_to_be_slow(host: Path) -> None:
    metadata = next(host.glob("venv/lib/*/*/*/METADATA"))
    metadata.write_text("Name: vllm\nVersion: 0.20.2\n\n")
    (found,) = findings(host, 'quantization = "awq"')
    assert found.severity is Severity.WARNING
    metadata.write_text("Name: vllm\nVersion: 0.32.0\n\n")
    assert findings(host, 'quantization = "awq"') == []


def test_metrics_for_everyone_are_told(host: Path) -> None:
    (found,) = findings(host, '[metrics]\nlisten = "0.0.0.0:9836"')
    assert (found.path, found.severity) == ("metrics.listen", Severity.WARNING)
    (found,) = findings(host, f'[metrics]\nweb_config_file = "{host}/none"')
    assert (found.path, found.severity) == ("metrics.web_config_file", Severity.ERROR)


def test_render_prints_the_unit_that_would_be_written(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "--config", file(host, "max_num_seqs = 9")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# /etc/llmagent/units/vllm-test.service\n# Written by llmagent")
    assert "--max-num-seqs=9" in said


def test_render_tells_that_a_unit_not_yet_installed_differs(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "vllm-test", "--diff", "--config", file(host)]) == 1
    assert capsys.readouterr().out.startswith("--- /dev/null\n+++ /etc/llmagent/units/")


def test_render_as_json_holds_the_whole_text(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "--format", "json", "--config", file(host)]) == 0
    (unit,) = json.loads(capsys.readouterr().out)["units"]
    assert unit["service"] == "vllm-test"
    assert unit["installed"] is None
    assert unit["differs"] is True
    assert "[Install]\n" in unit["text"]


def test_render_knows_only_services_of_the_file(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "vlm", "--config", file(host)]) == 2
    assert "no [service.vlm] in the configuration; there are: vllm-test" in capsys.readouterr().err


def test_render_needs_an_engine(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (host / "venv/bin/python").unlink()
    assert main(["render", "--config", file(host)]) == 4
    assert "does not exist; create it" in capsys.readouterr().err


def test_arguments_that_vllm_refuses_are_told(host: Path) -> None:
    told = findings(host, 'extra_args = ["--max-loras", "many", "--enable-lo", "--x-y=1", "stray"]')
    assert [one.path for one in told] == ["service.vllm-test.extra_args"] * 3
    assert "'many' is not a whole number" in told[0].text
    assert "could be --enable-log-deltas" in told[1].text
    assert "'stray' stands where no argument is taken" in told[2].text


def test_the_file_of_config_is_read_and_held_against_the_keys(host: Path) -> None:
    (host / "vllm.yaml").write_text(
        "headless: true\nmax-num-seqs: 64\nenable_lora: false\nfork-bombs: 3\nport: 8000\n"
    )
    lines = (f'extra_args = ["--config", "{host}/vllm.yaml"]', "max_num_seqs = 32")
    told = [one.text.removeprefix(f"{host}/vllm.yaml: ") for one in findings(host, *lines)]
    assert told[0].startswith("--headless: vLLM would open no port")
    assert told[1].endswith("has --fork-bombs")
    assert told[2] == "vLLM reads no `enable_lora: false`, only `enable-lora: false`; write it so"
    assert told[3].startswith("max_num_seqs is 64 there and 32 by agent.toml, which holds")
    assert len(told) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("a: [", "is not YAML"),
        ("- a", "holds no keys"),
        ("a: &x [1]\nb: *x", "uses aliases"),
        ("#" * 300_000, "is larger than 256 KiB"),
    ],
    ids=("missing", "broken", "list", "alias", "large"),
)
def test_a_file_of_config_that_is_none_is_told(host: Path, content: str | None, said: str) -> None:
    if content is not None:
        (host / "vllm.yaml").write_text(content)
    (told,) = findings(host, f'extra_args = ["--config", "{host}/vllm.yaml"]')
    assert said in told.text


def test_a_compose_file_or_a_unit_is_sent_to_import(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("compose.yml", "old-vllm.service"):
        assert main(["check", name]) == 2
        assert f"`llmagent import {name}` reads it" in capsys.readouterr().err


def test_what_strict_does_not_do_in_a_container_is_told_and_refuses_nothing(host: Path) -> None:
    text = f"""
        [service.vllm]
        model = "{host}/model"
        [service.vllm.engine]
        runtime = "podman"
        image = "vllm/vllm-openai:v0.32.0"
    """
    found = check_config(parse(text, "agent.toml"), run_engine_help=None)
    told = [one for one in found if one.path == "service.vllm.sandbox"]
    assert [one.severity for one in told] == [Severity.WARNING]
    assert "root's uid" in told[0].text
