# SPDX-License-Identifier: Apache-2.0
"""Values that the installed vLLM's own parser would refuse are told before a start."""

from __future__ import annotations

from agent.core.engine.choices import parse_choices
from agent.core.engine.install import Engine
from agent.core.settings.service import Settings
from agent.tasks.check_command import mistakes_in_arguments, values_refused

HELP = """\
  --dtype {auto,bfloat16,half}
                        Data type for model weights; see --kv-cache-dtype {fp9}.
  --tool-call-parser {hermes,mistral} or name registered in --tool-parser-plugin
  --max-lora-rank {1,8,16}
  --mm-encoder-attn-dtype {fp8,None}
  --collect-detailed-traces {all,model,None} [{all,model,None} ...]
  --load-format LOAD_FORMAT
"""


def refused(*words: str, **settings: str) -> list[tuple[str, str]]:
    asked = Settings("vllm", "org/m", extra_args=words, **settings)  # type: ignore[arg-type]
    return list(values_refused(asked, HELP))


def test_choices_are_those_of_options_that_take_no_other_word() -> None:
    assert parse_choices(HELP) == {
        "dtype": {"auto", "bfloat16", "half"},
        "max_lora_rank": {"1", "8", "16"},
        "mm_encoder_attn_dtype": {"fp8", "None"},
        "collect_detailed_traces": {"all", "model", "None"},
    }


def test_a_word_that_vllm_does_not_take_is_told_with_the_nearest_that_it_takes() -> None:
    ((key, sentence),) = refused(dtype="bfloat61")
    assert (key, sentence) == (
        "dtype",
        "dtype: this vLLM takes no bfloat61; did you mean bfloat16?",
    )
    ((key, sentence),) = refused("--max-lora-rank=24")
    assert (key, sentence) == (
        "extra_args",
        "--max-lora-rank: this vLLM takes no 24; it takes 1, 16, 8",
    )
    (told,) = refused("--collect-detailed-traces", "model", "everything")
    assert "no everything" in told[1]


def test_what_vllm_takes_is_no_mistake() -> None:
    words = ("--max-lora-rank", "8", "--mm-encoder-attn-dtype", "None", "--load-format", "x")
    assert refused(*words, "--tool-call-parser", "own", dtype="half") == []


def test_a_value_behind_a_switch_is_told_where_vllm_refuses_it() -> None:
    words = ("--enable-lora=True", "--enable-sleep-mode=False", "--enable-prompt-embeds")
    settings = Settings("vllm", "org/m", extra_args=words)
    told = list(mistakes_in_arguments(settings, Engine("0.32.0", True, None)))
    assert told == [
        "--enable-lora=True: vLLM refuses a value behind a switch; write --enable-lora",
        "--enable-sleep-mode=False: vLLM refuses a value behind a switch; write "
        "--no-enable-sleep-mode",
    ]
    assert list(mistakes_in_arguments(settings, Engine("0.8.5", True, None))) == []
