# SPDX-License-Identifier: Apache-2.0
"""Every shipped profile: valid keys, a plan that holds, figures that physics allows or marks."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from agent.config.agent_toml import parse
from agent.config.profiles import filled
from agent.core.planner.model import model_of
from agent.core.planner.profile_plan import contradictions, plan_of, roof_of
from agent.core.planner.question import Fit
from agent.core.planner.versions import version_of
from agent.core.settings.profile import Profile, ProfileError, profile_of
from agent.errors import ConfigError, UsageError
from agent.host.data.profiles import read_profiles
from agent.host.models.known import known_models
from tests.rig.paths import REPO

SHIPPED = REPO / "etc/profiles"
PROFILES = read_profiles([SHIPPED])
NEWEST = version_of("0.32")

VLLM_METRICS = {
    "vllm:kv_cache_usage_perc",
    "vllm:num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:num_preemptions_total",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:inter_token_latency_seconds_bucket",
}
"""Metrics that vLLM 0.16..0.32 exports, as alerts may use them."""


def planned(profile: Profile, version: str) -> Fit:
    model = model_of(known_models()[str(profile.settings["model"])])
    return plan_of(profile, model, version_of(version)).verdict


def test_there_is_one_for_every_deployment_that_operators_are_told_of() -> None:
    wanted = {
        *("llama-3.1-8b-fp8-rtx4090", "llama-3.1-8b-fp8-prequantized-rtx4090"),
        *(f"llama-3.1-70b-awq-48gb-{kind}" for kind in ("long-context", "balanced", "burst")),
        *(f"llama-3.1-70b-awq-2x24gb-{kind}" for kind in ("balanced", "burst")),
        *(f"llama-3.1-8b-fp8-gb10-{kind}" for kind in ("throughput", "long-context", "latency")),
        *(f"llama-3-8b-{kind}-24gb" for kind in ("fp16", "fp8", "awq", "gptq", "bitsandbytes")),
        "llama-3.1-8b-fp8-rtx4000ada",
    }
    assert set(PROFILES) == wanted


@pytest.mark.parametrize("version", ["0.11", "0.19", "0.24", "0.32"])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_each_is_planned_to_start_on_its_own_card(profile: Profile, version: str) -> None:
    assert planned(profile, version) is not Fit.DOES_NOT_FIT


def test_the_70b_profiles_are_refused_on_one_card_of_24_gb_with_the_arithmetic() -> None:
    for name in ("long-context", "balanced", "burst"):
        profile = PROFILES[f"llama-3.1-70b-awq-48gb-{name}"]
        small = profile_of(profile.name, {**_table(profile), "card": _card_of(23.5)})
        plan = plan_of(small, model_of(known_models()[str(small.settings["model"])]), NEWEST)
        assert plan.verdict is Fit.DOES_NOT_FIT
        assert "the weights take 37" in plan.reason
        assert any("17 GB" in note for note in profile.notes)


def _table(profile: Profile) -> dict[str, object]:
    return dict(tomllib.loads((SHIPPED / f"{profile.name}.toml").read_text()))


def _card_of(gib: float) -> dict[str, object]:
    return {"names": ["*"], "memory_gib": gib, "memory_bandwidth_bytes_per_second": 1e12}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_its_settings_make_a_valid_agent_toml(profile: Profile) -> None:
    import tomli_w

    service = {**profile.settings_for(NEWEST.release)}
    service |= {"expect": dict(profile.expect), "recovery": dict(profile.recovery)}
    config = parse(tomli_w.dumps({"service": {"vllm": service}}), profile.name)
    assert config.services["vllm"].settings.model == profile.settings["model"]


def test_published_figures_above_the_memorys_bandwidth_are_called_so() -> None:
    found = {}
    for name, profile in PROFILES.items():
        model = model_of(known_models()[str(profile.settings["model"])])
        if sentences := contradictions(profile, model, NEWEST):
            found[name] = sentences[0].partition(" ")[0]
    assert found == {
        "llama-3.1-8b-fp8-rtx4090": "195",
        "llama-3.1-8b-fp8-prequantized-rtx4090": "195",
        # measured, it is said, on a card that cannot hold the model
        "llama-3.1-70b-awq-48gb-long-context": "24",
        "llama-3.1-70b-awq-48gb-balanced": "24",
        "llama-3.1-70b-awq-48gb-burst": "24",
    }


def test_the_roof_of_an_8b_fp8_model_on_a_4090_is_125_tokens_a_second() -> None:
    profile = PROFILES["llama-3.1-8b-fp8-rtx4090"]
    model = model_of(known_models()[str(profile.settings["model"])])
    assert roof_of(profile, model, NEWEST) == pytest.approx(125, abs=1)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_alerts_use_metrics_that_exist_in_the_unit_that_they_have(profile: Profile) -> None:
    assert profile.alerts
    for alert in profile.alerts:
        for name in re.findall(r"\b(vllm:\w+)", alert.expr):
            assert name in VLLM_METRICS
        share = re.search(r"kv_cache_usage_perc > ([\d.]+)", alert.expr)
        assert share is None or float(share.group(1)) <= 1


def test_promtool_accepts_every_alert(tmp_path: Path) -> None:
    rules = [
        f"  - alert: {alert.name}{i}\n    expr: {alert.expr}\n    for: {alert.for_seconds}s"
        for i, profile in enumerate(PROFILES.values())
        for alert in profile.alerts
    ]
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n- name: profiles\n  rules:\n" + "\n".join(rules) + "\n")
    done = subprocess.run(
        ["promtool", "check", "rules", file], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_flags_follow_the_version_of_vllm() -> None:
    profile = PROFILES["llama-3.1-8b-fp8-gb10-throughput"]
    assert "kv_cache_memory_bytes" not in profile.settings_for((0, 10))
    assert "kv_cache_memory_bytes" in profile.settings_for((0, 11))


def test_an_own_profile_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    own = (SHIPPED / "llama-3-8b-awq-24gb.toml").read_text().replace("Llama 3 8B", "My own 8B")
    (tmp_path / "llama-3-8b-awq-24gb.toml").write_text(own)
    found = read_profiles([SHIPPED, tmp_path, tmp_path / "not there"])
    assert found["llama-3-8b-awq-24gb"].description.startswith("My own 8B")
    assert len(found) == len(PROFILES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("description = ", "Invalid value"),
        ('description = "x"', "card is missing"),
        ('descripton = "x"', "unknown key descripton"),
        ('description = "x"\ncard = 3\nsettings = {}', "not a table"),
    ],
)
def test_a_broken_profile_is_named_with_what_is_wrong(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        read_profiles([tmp_path])
    assert "mine.toml" in str(caught.value)


def test_a_band_that_is_upside_down_is_refused() -> None:
    table = _table(PROFILES["llama-3.1-8b-fp8-rtx4090"])
    table["band"] = [{"quantity": "power_watts", "low": 2, "high": 1, "origin": "published"}]
    with pytest.raises(ProfileError, match="above"):
        profile_of("x", table)


def test_own_keys_stand_above_the_profiles() -> None:
    own = {"profile": "x", "max_num_seqs": 4, "expect": {"on_mismatch": "stop"}}
    merged = filled(own, PROFILES["llama-3.1-8b-fp8-rtx4090"], NEWEST)
    assert merged["max_num_seqs"] == 4
    assert merged["max_model_len"] == 65536
    assert merged["expect"] == {"kv_cache_dtype": "fp8", "on_mismatch": "stop"}
    # the profile's floor of 16 sequences would refuse the 4 that are asked for
    assert merged["recovery"] == {"min_max_model_len": 16384, "start_stall_seconds": 900}


def test_a_profile_that_is_not_there_is_named_where_it_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"line 2: service\.vllm\.profile: no profile is called"):
        parse('[service.vllm]\nprofile = "nothing-like-it"\nmodel = "/m"\n', "agent.toml")
