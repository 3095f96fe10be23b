# SPDX-License-Identifier: Apache-2.0
"""A bug report from a host on which secrets and prompts stand in every source that is read."""

from __future__ import annotations

import json
import stat
import tarfile
import time
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.errors import HostLacksError
from agent.tasks.bundle import FOLDER, Part, write

HF = "hf_" + "Qm4Zt7Xb2Kc9" * 2
KEY = "correct-horse-battery"
ELSEWHERE = "only-the-operator-knows"
SIGNED = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PROMPT = "Ada asks about her knee"

PROGRAMS = {
    "journalctl": f"""
import json, sys
def entry(message):
    print(json.dumps({{"__REALTIME_TIMESTAMP": "1764324000000000", "MESSAGE": message}}))
if "--dmesg" in sys.argv:
    entry("NVRM: Xid (PCI:0000:01:00): 79, pid=9, name={KEY}")
elif "--unit=vllm.service" not in sys.argv:
    entry("vllm: started with token {HF}")
else:
    entry("INFO 11-28 10:00:00 [api_server.py:1] vLLM API server version 0.33.0")
    entry("INFO 11-28 10:00:00 [logger.py:1] Received request a: prompt: '{PROMPT}', params: x")
    entry("{PROMPT}\\n{PROMPT}")
    entry("WARNING 11-28 10:00:00 [x.py:1] GET https://hub/x?X-Amz-Signature={SIGNED} -> 403")
    entry("INFO 11-28 10:00:00 [x.py:1] using {KEY} and {HF} and {ELSEWHERE}")
    entry(["INFO 11-28 10:00:00 [x.py:1] sent twice", "the other"])
    entry([[98, 121, 116, 101, 115], "the other"])
    entry(list("ERROR 11-28 10:00:00 [x.py:1] bytes \\udcff".encode(errors="surrogateescape")))
""",
    "systemctl": f"""
import sys
print("systemd 252" if "--version" in sys.argv else
      "[Service]\\nEnvironment=OUR_VAULT={ELSEWHERE}\\nExecStart=vllm --api-key {KEY}")
""",
    "nvidia-smi": f"print('Process : /opt/x --password {ELSEWHERE}')",
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a directory with an agent.toml and programs that tell too much."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/usr/bin/python3\n{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    (tmp_path / "hf").write_text(f"{HF}\n")
    (tmp_path / "keys").write_text(f"{KEY}\n")
    (tmp_path / "agent.toml").write_text(
        f"""
# our own note: {ELSEWHERE}
[service.vllm]
model = "org/name"
hf_token_file = "{tmp_path}/hf"
api_key_file = "{tmp_path}/keys"
environment = {{ OUR_VAULT = "{ELSEWHERE}", VLLM_LOGGING_LEVEL = "INFO" }}
"""
    )
    return tmp_path


def members(archive: Path) -> dict[str, str]:
    """Returns the texts of an archive by their names."""
    with tarfile.open(archive) as packed:
        files = {member.name: packed.extractfile(member) for member in packed.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_no_secret_and_no_prompt_leaves_the_host(
    host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = host / "report.tar.gz"
    argv = ["bundle", "--config", str(host / "agent.toml"), "--output", str(archive)]
    assert main(argv) == 0

    said = capsys.readouterr().out
    found = members(archive)
    for name, text in {**found, "the screen": said}.items():
        for secret in (HF, KEY, ELSEWHERE, SIGNED, PROMPT, "knee"):
            assert secret not in text, (name, secret)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    journal = found[f"{FOLDER}/journal/vllm.service.txt"]
    assert "vLLM API server version 0.33.0" in journal
    assert "https://hub/x?[secret]" in journal
    assert "Xid (PCI:0000:01:00): 79" in found[f"{FOLDER}/journal/kernel.txt"]
    assert 'model = "org/name"' in found[f"{FOLDER}/agent.toml"]
    assert 'VLLM_LOGGING_LEVEL = "INFO"' in found[f"{FOLDER}/agent.toml"]
    for name in ("status", "why", "check", "doctor", "verify"):
        assert found[f"{FOLDER}/{name}.json"], name
    assert json.loads(found[f"{FOLDER}/check.json"])["services"] == ["vllm"]
    # The list in the archive is that on the screen, and both say how big each part is.
    assert all(name.removeprefix(f"{FOLDER}/") in said for name in found if "README" not in name)
    assert "look through it before you send it" in said


def test_a_host_without_anything_still_gives_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "agent.toml"
    file.write_text(f'[service.vllm\npassword = "{ELSEWHERE}"\n# {ELSEWHERE}\n')
    archive = tmp_path / "report.tar.gz"
    argv = ["bundle", "--config", str(file), "--output", str(archive), "--format", "json"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    problems = {part["name"]: part["problem"] for part in told["parts"]}
    assert problems["nvidia-smi.txt"] == "nvidia-smi is not on this host"
    assert told["bytes"] == archive.stat().st_size
    assert all(ELSEWHERE not in text for text in members(archive).values())


def test_nothing_is_overwritten(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = host / "report.tar.gz"
    archive.write_text("mine")
    assert main(["bundle", "--output", str(archive)]) == 4
    assert archive.read_text() == "mine"
    assert "is there already; name another with --output" in capsys.readouterr().err


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostLacksError, match="--output"):
        write(tmp_path / "a.tar.gz", [Part("a", "b", "c")])
    assert not (tmp_path / "elsewhere").exists()


def test_of_a_long_part_the_end_is_kept(host: Path) -> None:
    (host / "bin/nvidia-smi").write_text(
        "#!/usr/bin/python3\nfor n in range(16000): print('line', n, '. ' * 80)"
    )
    archive = host / "report.tar.gz"
    main(["bundle", "--config", str(host / "agent.toml"), "--output", str(archive)])
    text = members(archive)[f"{FOLDER}/nvidia-smi.txt"]
    assert len(text) <= 2 << 20
    assert text.startswith("line ")
    assert "line 15999 " in text.splitlines()[-1]
    assert time.time() - archive.stat().st_mtime < 3600
