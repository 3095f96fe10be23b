# SPDX-License-Identifier: Apache-2.0
"""`llmagent import`: an engine of somebody else's becomes a table that `llmagent check` takes."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.main import main
from tests.given.some_host import readable_host

USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
SHIPPED = "# what we serve\n\n[metrics]   # ours\nlisten = '127.0.0.1:9836'\n"


@pytest.fixture
def host() -> Iterator[Path]:
    """A place that every user may read: a virtual environment, a model, a unit, an agent.toml."""
    with readable_host("python", "vllm") as root:
        (root / "vars").write_text("PORT=18011\n")
        (root / "old.service").write_text(
            f"[Service]\nUser={USER}\nEnvironmentFile={root}/vars\nNice=-5\n"
            f"ExecStart={root}/venv/bin/vllm serve {root}/model --port ${{PORT}} "
            "--host 127.0.0.1 --max-num-seqs 8\n"
        )
        (root / "agent.toml").write_text(SHIPPED)
        (root / "agent.toml").chmod(0o640)
        yield root


def run(host: Path, *argv: str) -> int:
    return main(["import", "--config", str(host / "agent.toml"), *argv])


def test_a_unit_is_printed_as_a_table_and_nothing_is_written(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host, f"{host}/old.service") == 0
    said = capsys.readouterr()
    assert said.out == (
        f'[service.old]\nmodel = "{host}/model"\nhost = "127.0.0.1"\nport = 18011\n'
        f'max_num_seqs = 8\npython = "{host}/venv/bin/python"\nuser = "{USER}"\n'
    )
    assert "Nice=-5: put it under [Service] of a drop-in" in said.err
    assert "llmagent check: ok" in said.err
    assert (host / "agent.toml").read_text() == SHIPPED


def test_what_is_written_passes_check_and_keeps_the_file(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host, f"{host}/old.service", "--write", "--yes") == 0
    written = host / "agent.toml"
    assert written.read_text().startswith(SHIPPED.rstrip() + "\n\n[service.old]\n")
    assert written.stat().st_mode & 0o777 == 0o640
    assert main(["check", "--no-engine", str(written)]) == 0
    assert "old.service on 127.0.0.1:18011" in capsys.readouterr().out
    assert run(host, f"{host}/old.service") == 2
    assert "has [service.old] already: choose --name OTHER" in capsys.readouterr().err


def test_nothing_is_written_without_consent_where_nobody_can_be_asked(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host, f"{host}/old.service", "--write") == 2
    assert "--yes agrees beforehand" in capsys.readouterr().err
    assert (host / "agent.toml").read_text() == SHIPPED


def test_a_secret_goes_to_a_file_of_its_own_and_to_no_screen(
    host: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.core.foreign.table.SECRETS", str(host))
    line = (f"{host}/venv/bin/vllm", "serve", f"{host}/model", "--api-key", "open-sesame-1")
    assert run(host, "--format", "json", "--write", "--yes", "--", *line) in (0, 1)
    said = capsys.readouterr()
    assert "open-sesame-1" not in said.out + said.err
    assert json.loads(said.out)["files"] == [f"{host}/vllm_api_key"]
    if json.loads(said.out)["written"]:
        assert (host / "vllm_api_key").read_text() == "open-sesame-1\n"
        assert (host / "vllm_api_key").stat().st_mode & 0o777 == 0o600


def test_what_cannot_run_is_printed_but_not_written(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("vllm", "serve", "/no/such/model")
    assert run(host, "--write", "--yes", "--", *line) == 1
    said = capsys.readouterr()
    assert "error: service.vllm.model: /no/such/model does not exist" in said.err
    assert "nothing is written" in said.err
    assert (host / "agent.toml").read_text() == SHIPPED


def test_a_running_process_is_read_from_its_number(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("vllm", "serve", f"{host}/model", "--port", "18012")
    # A program that waits stands for the engine: /proc has its words and its variables.
    engine = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"HF_TOKEN": "hf_abcdefghijkl", "VLLM_LOGGING_LEVEL": "DEBUG", "LANG": "C"},
    )
    assert engine.stdout is not None
    engine.stdout.readline()
    try:
        run(host, str(engine.pid), "--name", "taken", "--format", "json")
    finally:
        engine.communicate(b"\n")
    said = capsys.readouterr()
    assert said.err == ""
    table = json.loads(said.out)["services"]["taken"]
    assert table["port"] == 18012
    assert table["environment"] == {"VLLM_LOGGING_LEVEL": "DEBUG"}
    assert "hf_abcdefghijkl" not in said.out + said.err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((), "name a unit, a compose file, a PID, a container, or a command line"),
        (("no-such-thing",), "no unit no-such-thing.service"),
        (("999999999",), "there is no such process"),
        (("1", "--", "vllm", "serve", "m"), "are two things to import"),
        (("--", "nginx", "-g", "x"), "no `vllm serve MODEL`"),
    ],
)
def test_what_is_no_engine_is_told_with_what_was_looked_for(
    host: Path, argv: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(host, *argv) == 2
    assert told in capsys.readouterr().err


def test_a_compose_file_becomes_a_table_a_service(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (host / ".env").write_text("PORT=18020\n")
    (host / "compose.yml").write_text(
        "services:\n  a: {image: 'vllm/vllm-openai:v0.10.2', command: '--model org/a',"
        " ports: ['${PORT}:8000']}\n  b: {image: 'vllm/vllm-openai:v0.10.2',"
        " command: '--model org/b', network_mode: host}\n"
    )
    run(host, f"{host}/compose.yml", "--format", "json")
    services = json.loads(capsys.readouterr().out)["services"]
    assert {name: (one["model"], one["port"]) for name, one in services.items()} == {
        "a": ("org/a", 18020),
        "b": ("org/b", 8000),
    }


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "x" * 300_000])
def test_a_file_that_is_no_compose_file_is_one_error(
    host: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (host / "compose.yaml").write_text(text)
    assert run(host, f"{host}/compose.yaml") == 2
    assert capsys.readouterr().err.startswith("llmagent import: ")


def test_a_runtime_that_does_not_answer_is_not_said_to_have_no_such_container(
    host: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = host / "programs"
    programs.mkdir()
    for name, status in (("docker", 1), ("podman", 0)):
        # podman answers, and has no such container; docker's daemon is away.
        text = f'#!/bin/sh\n[ "$1" = version ] && exit {status}\nexit 125\n'
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    assert run(host, "chat") == 2
    said = capsys.readouterr().err
    assert "no container of podman, and docker does not answer (`docker version` says why)" in said
