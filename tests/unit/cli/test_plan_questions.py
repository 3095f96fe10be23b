# SPDX-License-Identifier: Apache-2.0
"""What can be asked of `llmagent plan`: lines, units, files, cards, formats, contexts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.cli.planning.words import divide

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
AWAY = ("--status", "/nowhere/status.json")
CARD = ("--gpu", "RTX 4090")


def plan(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any], str]:
    status = main(["plan", *AWAY, "--format", "json", *argv])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else {}, err


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    main(["plan", *AWAY, *argv])
    return capsys.readouterr().out


def test_a_whole_command_line_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    line = ("vllm", "serve", LLAMA, "--max-model-len", "32k", "--kv-cache-dtype=fp8")
    status, found, _ = plan(capsys, *CARD, "--", *line)
    assert status == 0
    assert found["max_model_len"] == 32_000
    assert found["kv_bytes_per_token"] == 65_536
    _, same, _ = plan(capsys, LLAMA, *CARD, "--kv_cache_dtype", "fp8", "--max_model_len=32k")
    assert same == found


def test_a_unit_is_planned_with_its_drop_ins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    unit = tmp_path / "old.service"
    unit.write_text(f"[Service]\nEnvironmentFile=/e\nExecStart=vllm serve {LLAMA} -dp 2\n")
    status, found, _ = plan(capsys, str(unit), *CARD, "--max-model-len", "8192")
    assert status == 0
    assert found["gpus"] == 2
    assert any("EnvironmentFile /e" in note for note in found["notes"])
    assert any("2 replicas" in note for note in found["notes"])
    (tmp_path / "old.service.d").mkdir()
    changed = f"[Service]\nExecStart=\nExecStart=vllm serve {LLAMA} --max-model-len 4K\n"
    (tmp_path / "old.service.d" / "a.conf").write_text(changed)
    _, found, _ = plan(capsys, str(unit), *CARD)
    assert (found["gpus"], found["max_model_len"]) == (1, 4096)


def test_a_units_file_is_read_by_its_bare_name_where_one_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.service").write_text(f"[Service]\nExecStart=vllm serve {LLAMA}\n")
    monkeypatch.chdir(tmp_path)
    status, found, _ = plan(capsys, "old.service", *CARD, "--max-model-len", "8192")
    assert (status, found["max_model_len"]) == (0, 8192)


def test_what_runs_in_an_image_is_planned_by_the_release_in_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Whether docker is here or not: what the next host holds is planned on any."""
    image = "nvcr.io/nvidia/vllm:25.09-py3"
    engine = f'[service.vllm.engine]\nruntime = "docker"\nimage = "{image}"\n'
    agent = tmp_path / "agent.toml"
    agent.write_text(f'[service.vllm]\nmodel = "{LLAMA}"\n{engine}')
    shape = ("--max-model-len", "8192")
    asked = plan(capsys, LLAMA, *CARD, *shape, "--vllm-version", "0.10.1.1")
    newest = plan(capsys, LLAMA, *CARD, *shape)
    assert (
        plan(capsys, "vllm", "--config", str(agent), *CARD, *shape)[1]["terms"]
        == (asked[1]["terms"])
    )
    line = ("docker", "run", "--gpus", "all", image, "vllm", "serve", LLAMA)
    assert plan(capsys, *CARD, *shape, "--", *line)[1] == asked[1] != newest[1]


def test_a_file_of_options_is_planned_and_the_command_line_wins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "vllm.yaml"
    file.write_text(f"model: {LLAMA}\nmax-model-len: 16k\nenforce-eager: true\n")
    _, found, _ = plan(capsys, "--config", str(file), *CARD)
    assert (found["max_model_len"], found["cuda_graph_gib"]) == (16_000, 0)
    _, found, _ = plan(capsys, "--config", str(file), *CARD, "--max-model-len", "8k")
    assert found["max_model_len"] == 8000
    _, line, _ = plan(capsys, *CARD, "--", "vllm", "serve", "--config", str(file))
    assert line["max_model_len"] == 16_000


def test_a_service_is_planned_with_what_stands_in_its_extra_args(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "more.yaml").write_text("enable-lora: true\n")
    agent = tmp_path / "agent.toml"
    extra = f'["--cpu-offload-gb", "4", "--config", "{tmp_path}/more.yaml"]'
    agent.write_text(f'[service.vllm]\nmodel = "{LLAMA}"\nextra_args = {extra}\n')
    _, found, _ = plan(capsys, "vllm", "--config", str(agent), *CARD, "--max-model-len", "8k")
    assert found["host_memory"] == [
        {"name": "cpu_offload", "gib": 4.0, "how": "weights, locked in memory"}
    ]
    assert any(row["name"] == "lora" for row in found["terms"])
    _, found, _ = plan(capsys, "vllm", "--config", str(agent), *CARD, "--enable-eplb")
    assert found["verdict"] == "not known"
    assert "--enable-eplb" in found["not_known"][0]


def test_sleep_and_offloading_name_the_hosts_memory(capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = plan(capsys, LLAMA, *CARD, "--enable-sleep-mode", "--max-model-len", "8k")
    (sleep,) = found["host_memory"]
    assert sleep["name"] == "sleep"
    assert sleep["gib"] == pytest.approx(found["weights_gib"])
    out = told(capsys, LLAMA, *CARD, "--kv-offloading-size", "32", "--max-model-len", "8k")
    assert "Host memory: 32.00 GiB for kv_offload" in out


def test_a_card_by_name_brings_memory_capability_and_a_roof(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, found, _ = plan(capsys, LLAMA, *CARD, "--max-model-len", "8k")
    assert found["gpu"] == {"name": "GeForce RTX 4090", "memory_gib": 23.53}
    # 8.03 billion parameters less the input embedding, in 16 bits, at 1008 GB/s.
    assert found["decode_roof_tokens_per_second"] == pytest.approx(1008 / (2 * 7.5), rel=0.02)
    status, found, _ = plan(capsys, LLAMA, "--gpu", "T4", "--kv-cache-dtype", "fp8")
    assert status == 1
    assert (found["kv_tokens"], found["largest_max_model_len"], found["terms"]) == (0, 0, [])
    assert "bandwidth roof" in told(capsys, LLAMA, *CARD)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--gpu", "RTX 4091"), "did you mean GeForce RTX 4090"),
        (("--gpu-memory-gib", "24GB"), "--gpu-memory-gib 24GB is not a number of GiB"),
        (("--gpu-name", "RTX 4O90"), "did you mean"),
        ((*CARD, "--kv-cache-dtype", "fp7"), "did you mean fp8?"),
        ((*CARD, "--vllm-version", "latest"), "is no release"),
        ((*CARD, "--vllm-version", "0.99"), "the newest release known here"),
        ((*CARD, "--max-model-len", "24GB"), "is not a whole number"),
        ((*CARD, "--free-gib", "-1"), "no free memory"),
        ((*CARD, "--prices", "/nowhere.toml"), "--prices is for --cards"),
        ((*CARD, "--cards", "--prices", "/nowhere.toml"), "/nowhere.toml"),
        ((*CARD, "--", "nginx"), "no `vllm serve MODEL`"),
    ],
)
def test_a_mistake_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], said: str
) -> None:
    model = () if "--" in argv else (LLAMA,)
    status, _, err = plan(capsys, *model, *argv)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_an_option_that_nobody_has_is_told_with_plans_own_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["plan", LLAMA, "--gpu-memory-gb", "24"])
    err = capsys.readouterr().err
    assert "did you mean --gpu-memory-gib?" in err
    assert len(err.splitlines()) < 4


def test_a_name_that_is_nothing_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    agent = tmp_path / "agent.toml"
    agent.write_text(f'[service.vllm]\nmodel = "{LLAMA}"\n')
    status, _, err = plan(capsys, "no-such", "--config", str(agent), *CARD)
    assert status == 2
    assert "there are: vllm" in err
    assert "no unit no-such.service" in err


def test_two_things_to_plan_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = plan(capsys, LLAMA, *CARD, "--", "vllm", "serve", LLAMA)
    assert status == 2
    assert "two things" in err


def test_a_refused_start_shows_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, LLAMA, *CARD, "-tp", "3")
    assert "available_kv" not in out
    assert "KV cache:" not in out
    assert "do not divide" in out
    hopeless = told(capsys, LLAMA, "--gpu", "RTX 3080")
    assert "available_kv" not in hopeless
    assert "tokens/s" not in hopeless
    assert "weights" in hopeless


def test_the_number_of_the_advertisement_gets_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = plan(capsys, LLAMA, "--gpu-memory-gib", "24")
    assert "23.53 GiB" in found["notes"][0]
    assert not plan(capsys, LLAMA, "--gpu-memory-gib", "23.5")[1]["notes"]


def test_what_neighbours_leave_is_planned_with(capsys: pytest.CaptureFixture[str]) -> None:
    argv = (LLAMA, *CARD, "--max-model-len", "8k")
    assert plan(capsys, *argv)[1]["verdict"] == "fits"
    assert plan(capsys, *argv, "--free-gib", "18")[1]["verdict"] == "tight"
    assert plan(capsys, *argv, "--free-gib", "10")[1]["verdict"] == "does not fit"


def test_cards_are_a_table_with_prices(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('unit = "EUR/h"\n[prices]\n"rtx 4090" = 0.4\nL40S = 0.9\n')
    status, found, _ = plan(capsys, LLAMA, "--cards", "--prices", str(prices))
    assert status == 0
    rows = {(row["card"], row["count"]): row for row in found["cards"]}
    assert rows["GeForce RTX 4090", 2]["price"] == 0.8
    assert rows["Tesla T4", 1]["verdict"] == "does not fit"
    assert rows["Tesla T4", 1]["largest_max_model_len"] == 0
    assert rows["L40S", 1]["max_concurrency"] > rows["GeForce RTX 4090", 1]["max_concurrency"]
    assert found["cards"][0]["price"] == 0.4
    one = plan(capsys, LLAMA, *CARD, "--max-model-len", "8192")[1]
    assert rows["GeForce RTX 4090", 1]["largest_max_model_len"] == one["largest_max_model_len"]
    out = told(capsys, LLAMA, "--cards", "--prices", str(prices))
    assert "price EUR/h" in out
    assert len([line for line in out.splitlines() if "RTX 4090" in line]) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("prices = 3", "[prices]"), ("[prices]\nX9000 = 1", "X9000"), ("[prices]\nL4 = 'a'", "L4")],
)
def test_prices_that_are_none_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(text)
    status, _, err = plan(capsys, LLAMA, "--cards", "--prices", str(prices))
    assert status == 2
    assert said in err


def test_formats_of_one_model_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = plan(capsys, LLAMA, "--formats", "--gpu", "L4", "--max-model-len", "8k")
    rows = {(row["format"], row["kv_cache_dtype"]): row for row in found["formats"]}
    weights = [rows[name, "auto"]["weights_gib"] for name in ("16 bits", "FP8", "NVFP4")]
    assert weights == sorted(weights, reverse=True)
    for name in ("16 bits", "FP8", "AWQ or GPTQ, 4 bits", "NVFP4"):
        ratio = rows[name, "fp8"]["kv_tokens"] / rows[name, "auto"]["kv_tokens"]
        assert ratio == pytest.approx(2, rel=0.01)
    assert "GiB of weights" in told(capsys, LLAMA, "--formats", "--gpu", "L4")


def test_a_format_weighs_what_a_copy_of_that_name_does(capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = plan(capsys, "Qwen/Qwen3-8B", "--formats", "--gpu", "L4")
    rows = {row["format"]: row["weights_gib"] for row in found["formats"]}
    for format_, name in (("NVFP4", "NVFP4"), ("FP8", "FP8"), ("AWQ or GPTQ, 4 bits", "AWQ")):
        copy = plan(capsys, f"Qwen/Qwen3-8B-{name}", "--gpu", "L4")[1]
        assert rows[format_] == pytest.approx(copy["weights_gib"], abs=0.01)


def test_a_sweep_shows_contexts_and_users(capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = plan(capsys, LLAMA, "--sweep", "--gpu", "H100")
    contexts = [row["context"] for row in found["contexts"]]
    assert contexts == [2048 * 2**n for n in range(7)]
    fewer = [row["max_concurrency"] for row in found["contexts"]]
    assert fewer == sorted(fewer, reverse=True)
    longest = [row["longest"] for row in found["users"]]
    assert longest == sorted(longest, reverse=True)
    assert "tokens for each" in told(capsys, LLAMA, "--sweep", "--gpu", "H100")


def test_a_line_of_a_table_that_does_not_fit_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    by_context = told(capsys, LLAMA, "--sweep", "--gpu", "L4").splitlines()
    assert any("does not fit" in x and "GiB are left" in x for x in by_context)
    assert all(x.rstrip().endswith("fits") for x in by_context if "  fits" in x)
    hybrid = told(capsys, "Qwen/Qwen3.8-27B-FP8", "--formats", "--gpu", "L40S")
    assert "max_num_seqs 256 needs as many blocks for recurrent states" in hybrid


def test_words_are_divided_between_plan_vllm_and_the_line() -> None:
    words = "vllm --gpu L4 -tp 2 --sweep --max-model-len=8k --enable-lora -sc.method ngram --x y"
    divided = divide([*words.split(), "--", "vllm", "serve", "--", "m"])
    assert divided.own == ("vllm", "--gpu", "L4", "--sweep", "--x", "y")
    assert divided.vllm == (
        *("-tp", "2", "--max-model-len=8k", "--enable-lora", "-sc.method", "ngram"),
    )
    assert divided.line == ("vllm", "serve", "--", "m")
    assert divide(["m", "--max-model-len", "-1"]).vllm == ("--max-model-len", "-1")
