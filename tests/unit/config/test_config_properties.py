# SPDX-License-Identifier: Apache-2.0
"""Promises of the configuration for whatever stands in the file."""

from dataclasses import asdict
from typing import Any

import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from agent.config.agent_toml import parse
from agent.config.service import EXPECT, RECOVERY, SETTINGS
from agent.core.settings.service import Expectations
from agent.errors import ConfigError

WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,12}", fullmatch=True)
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\"'\\")).map(
    lambda text: f"/srv/{text}"
)
COUNTS = st.integers(1, 10**7)
SHARES = st.floats(0.5, 0.97)

MODEL: dict[str, st.SearchStrategy[Any]] = {"model": st.one_of(st.just("org/name"), PATHS)}

GOOD = st.fixed_dictionaries(
    MODEL,
    optional={
        "served_model_name": LINES,
        "quantization": WORDS,
        "kv_cache_dtype": WORDS,
        "max_model_len": st.integers(2048, 10**7),
        "max_num_seqs": st.integers(8, 4096),
        "max_num_batched_tokens": st.integers(2048, 10**6),
        "gpu_memory_utilization": SHARES,
        "enforce_eager": st.booleans(),
        "enable_prefix_caching": st.booleans(),
        "shutdown_timeout": st.integers(0, 3600),
        "gpus": st.lists(st.integers(0, 7).map(str), min_size=1, unique=True),
        "extra_args": st.lists(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(
                lambda text: not text.startswith("-") and "hf_" not in text and "sk-" not in text
            )
        ),
        "environment": st.dictionaries(
            st.from_regex(r"[A-Z]{1,8}_X", fullmatch=True), WORDS, max_size=3
        ),
        "expect": st.fixed_dictionaries(
            {}, optional={"linear_kernel": WORDS, "max_num_seqs": COUNTS}
        ),
        "recovery": st.fixed_dictionaries(
            {},
            optional={"settle_seconds": st.floats(1, 1000), "allow_enforce_eager": st.booleans()},
        ),
    },
)

ANY_VALUE = st.recursive(
    st.none().map(lambda _: False)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(GOOD)
def test_what_is_written_is_what_is_read(table: dict[str, Any]) -> None:
    text = tomli_w.dumps({"service": {"vllm": table}})
    policy = parse(text, "agent.toml").services["vllm"]
    read: dict[str, object] = {
        name: getattr(policy.settings, name) for name in table.keys() & SETTINGS.keys()
    }
    read = {
        name: list(value) if isinstance(value, tuple) else value for name, value in read.items()
    }
    assert read == {name: value for name, value in table.items() if name in SETTINGS}
    expected = asdict(Expectations()) | table.get("expect", {})
    assert asdict(policy.expect) == expected
    for name, value in table.get("recovery", {}).items():
        assert getattr(policy.recovery, name) == value


def told(text: str) -> tuple[str, ...]:
    """Return the mistakes in a text, none when it is a configuration."""
    try:
        parse(text, "agent.toml")
    except ConfigError as error:
        return error.mistakes or ("",)
    return ()


@given(st.text())
@example("a = " + "[" * 5000)
@example("a = " + "9" * 5000)
@example("a = 1e9999")
@example("\ufeff[service]")
@example("[service.vllm]\nmodel = 2000-13-45")
def test_any_text_is_a_configuration_or_a_told_mistake(text: str) -> None:
    assert all(told(text))


@given(
    st.dictionaries(
        st.sampled_from(sorted({*SETTINGS, "expect", "recovery"}))
        | st.text(st.characters(exclude_categories=["Cs"])),
        ANY_VALUE
        | st.dictionaries(st.sampled_from(sorted({*EXPECT, *RECOVERY})), ANY_VALUE, max_size=4),
        max_size=6,
    )
)
def test_any_table_is_a_service_or_a_told_mistake(table: dict[str, Any]) -> None:
    assert all(": " in mistake for mistake in told(tomli_w.dumps({"service": {"vllm": table}})))
