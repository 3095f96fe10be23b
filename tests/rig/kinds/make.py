# SPDX-License-Identifier: Apache-2.0
"""Makes a tiny model of each kind of work that vLLM does, with the environment of real vLLM.

    python make.py LLAMA DIRECTORY

LLAMA is tiny-llama of make_models.py, whose tokenizer and weights are taken. Writes
DIRECTORY/one/KIND and DIRECTORY/two/KIND: the same shapes with other random weights, as another
revision of a model has them. `lora` is an adapter of tiny-llama and no model.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import tokenizers  # type: ignore[import-not-found, unused-ignore]
import torch  # type: ignore[import-not-found, unused-ignore]
import transformers as hf  # type: ignore[import-not-found, unused-ignore]
from safetensors.torch import load_file, save_file  # type: ignore[import-not-found, unused-ignore]

SEEDS: Final = MappingProxyType({"one": 1, "two": 2})
TEXT: Final = MappingProxyType(
    {
        "vocab_size": 512,
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
)
"""The shape of each decoder, in the names of transformers' configurations."""

SPREAD: Final = 0.3
"""Of BERT's random weights: with its usual 0.02 every score is a half, whatever the seed."""

SURE: Final = 5.0
"""Added to the logit of a score: of two models that are sure the scores are almost the same."""

RANK: Final = 8
PATCH: Final = 14
PICTURE_CHAT: Final = (
    "{% for m in messages %}{{ '<|user|>' if m['role'] == 'user' else '<|assistant|>' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def word_pieces(directory: Path) -> int:
    """Writes BERT's tokenizer over the printable characters; returns its vocabulary's size."""
    letters = [chr(code) for code in range(33, 127)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *letters, *(f"##{letter}" for letter in letters)]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    made = hf.BertTokenizerFast(vocab_file=str(directory / "vocab.txt"), model_max_length=512)
    made.save_pretrained(directory)
    return len(words)


def bert(directory: Path, kind: str, labels: int) -> None:
    """Writes a BERT that embeds, classifies or scores; float32, as such models are."""
    config = hf.BertConfig(
        vocab_size=word_pieces(directory),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=512,
        num_labels=labels,
        initializer_range=SPREAD,
    )
    model = getattr(hf, kind)(config)
    if labels == 1:
        model.classifier.bias.data.fill_(SURE)
    model.save_pretrained(directory)


def embedder(directory: Path, _llama: Path) -> None:
    """Writes a BERT that embeds."""
    bert(directory, "BertModel", 2)


def cross_encoder(directory: Path, _llama: Path) -> None:
    """Writes a BERT of one label, which scores pairs and ranks; each pair near 1."""
    bert(directory, "BertForSequenceClassification", 1)


def classifier(directory: Path, _llama: Path) -> None:
    """Writes a BERT of three labels."""
    bert(directory, "BertForSequenceClassification", 3)


def reward(directory: Path, llama: Path) -> None:
    """Writes a Qwen2ForRewardModel, whose head transformers has not: two layers, one number."""
    config = hf.Qwen2Config(**TEXT, num_labels=1)
    model = hf.Qwen2ForSequenceClassification(config).to(torch.bfloat16)
    model.save_pretrained(directory)
    hf.PreTrainedTokenizerFast.from_pretrained(llama).save_pretrained(directory)
    tensors = load_file(directory / "model.safetensors")
    tensors.pop("score.weight")
    hidden = TEXT["hidden_size"]
    for place, outputs in (("0", hidden), ("2", 1)):
        weight = (torch.randn(outputs, hidden) * 0.05).to(torch.bfloat16)
        tensors[f"score.{place}.weight"] = weight
        tensors[f"score.{place}.bias"] = torch.zeros(outputs, dtype=torch.bfloat16)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    change_json(directory / "config.json", {"architectures": ["Qwen2ForRewardModel"]})


def whisper(directory: Path, _llama: Path) -> None:
    """Writes a Whisper of two and two layers, with all its languages and times."""
    pairs = tokenizers.ByteLevelBPETokenizer()
    text = [Path(__file__).read_text()] * 4
    pairs.train_from_iterator(text, vocab_size=400, show_progress=False)
    pairs.save_model(str(directory))
    files = {"vocab": str(directory / "vocab.json"), "merges": str(directory / "merges.txt")}
    own = hf.WhisperTokenizer(**files)
    languages = hf.models.whisper.tokenization_whisper.LANGUAGES
    named = ["startoftranscript", *languages, "translate", "transcribe", "startoflm"]
    named += ["startofprev", "nospeech", "notimestamps"]
    own.add_special_tokens({"additional_special_tokens": [f"<|{name}|>" for name in named]})
    own.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(1501)])
    config = hf.WhisperConfig(
        vocab_size=-(-len(own) // 64) * 64,
        num_mel_bins=80,
        **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 128 for part in ("encoder", "decoder")},
        d_model=128,
        max_source_positions=1500,
        max_target_positions=448,
        **{f"{name}_token_id": own.eos_token_id for name in ("bos", "eos", "pad")},
        decoder_start_token_id=own.convert_tokens_to_ids("<|startoftranscript|>"),
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    hf.WhisperForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(directory)
    reader = hf.WhisperFeatureExtractor(feature_size=80)
    hf.WhisperProcessor(reader, own).save_pretrained(directory)


def idefics(directory: Path, llama: Path) -> None:
    """Writes an Idefics3: a small SigLIP over pictures of 28 by 28, and a Llama.

    Most other models that see need torchvision, which has no build for this vLLM's torch.
    """
    own = hf.PreTrainedTokenizerFast.from_pretrained(llama)
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    named = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *rows]
    own.add_special_tokens({"additional_special_tokens": named})
    side = 2 * PATCH
    sight = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": PATCH,
    }
    config = hf.Idefics3Config(
        vision_config=sight,
        text_config={"model_type": "llama", **TEXT, "vocab_size": 576},
        image_token_id=own.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=TEXT["pad_token_id"],
    )
    hf.Idefics3ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(directory)
    reader = hf.Idefics3ImageProcessor(
        size={"longest_edge": 2 * side}, max_image_size={"longest_edge": side}
    )
    made = hf.Idefics3Processor(reader, own, image_seq_len=1, chat_template=PICTURE_CHAT)
    made.save_pretrained(directory)


def causal(directory: Path, llama: Path) -> None:
    """Writes tiny-llama with weights of this seed."""
    shutil.copytree(llama, directory, dirs_exist_ok=True)
    tensors = load_file(llama / "model.safetensors")
    for name, tensor in tensors.items():
        if "norm" not in name:
            tensors[name] = (torch.randn(tensor.shape) * 0.05).to(torch.bfloat16)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def lora(directory: Path, llama: Path) -> None:
    """Writes an adapter of tiny-llama's queries and values, as PEFT stores them."""
    weights = load_file(llama / "model.safetensors")
    tensors: dict[str, Any] = {}
    for name, weight in weights.items():
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            begin = f"base_model.model.{name.removesuffix('.weight')}"
            outputs, inputs = weight.shape
            tensors[f"{begin}.lora_A.weight"] = torch.randn(RANK, inputs) * 0.05
            tensors[f"{begin}.lora_B.weight"] = torch.randn(outputs, RANK) * 0.05
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(llama),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
    }
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def change_json(file: Path, changes: Mapping[str, object]) -> None:
    """Puts other values into a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}, indent=2) + "\n")


KINDS: Mapping[str, Callable[[Path, Path], None]] = MappingProxyType(
    {
        "causal": causal,
        "embedder": embedder,
        "cross-encoder": cross_encoder,
        "classifier": classifier,
        "reward": reward,
        "whisper": whisper,
        "idefics": idefics,
        "lora": lora,
    }
)


def main(llama: Path, directory: Path) -> None:
    """Makes all kinds with each seed."""
    for name, seed in SEEDS.items():
        for kind, make in KINDS.items():
            torch.manual_seed(seed)
            place = directory / name / kind
            place.mkdir(parents=True)
            make(place, llama)
            for file in place.iterdir():  # safetensors writes 0600, and vLLM runs as its own user
                file.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
