# SPDX-License-Identifier: Apache-2.0
"""Says which texts of vLLM's source the log reader does not place.

Usage:
    python -m tests.catalogue                      every release: share placed, by stage
    python -m tests.catalogue 0.34.0               one release, and every text that is not placed
    python -m tests.catalogue 0.34.0 --new 0.33.0  only what 0.33.0 did not have
    python -m tests.catalogue --libraries          torch, Triton, FlashInfer and huggingface_hub
    python -m tests.catalogue --corpus             writes tests/given/catalogue/vllm.tsv anew

When a new vLLM comes: run it with the new version and `--new` the one before. Whatever it lists as
not placed needs a signature (agent/signatures, where a class and a cure of its own are known) or a
rule for its module (agent/signatures/places.toml); then add the version to RELEASES in releases.py,
the line of "EngineCore failed to start." to versions.toml, and write the corpus anew.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from agent.core.diagnosis.signatures import SignatureSet
from agent.host.data.signatures import load_signatures
from tests.catalogue.corpus import write_corpus
from tests.catalogue.libraries import library_texts
from tests.catalogue.placing import By, Placed, Share, can_end, place, place_logged, shares
from tests.catalogue.releases import RELEASES, new_in, texts_in
from tests.catalogue.stages import stage_of
from tests.catalogue.texts import Text


def main(arguments: list[str]) -> int:
    """Print the report that was asked for; 1 where something is not placed."""
    parser = argparse.ArgumentParser(prog="python -m tests.catalogue")
    parser.add_argument("release", nargs="*")
    parser.add_argument("--new", metavar="BEFORE", help="only texts that this release lacks")
    parser.add_argument("--corpus", action="store_true", help="write the tests' corpus anew")
    parser.add_argument("--libraries", action="store_true", help="packages beside vLLM")
    asked = parser.parse_args(arguments)
    if asked.corpus:
        print(write_corpus())
        return 0
    signatures = load_signatures()
    if asked.libraries:
        texts = list(dict.fromkeys(library_texts()))
        return 0 if report(RELEASES[-1], texts, signatures, listed=True) == 1.0 else 1
    worst = 1.0
    for release in asked.release or RELEASES:
        texts = new_in(release, asked.new) if asked.new else texts_in(release)
        worst = min(worst, report(release, texts, signatures, listed=bool(asked.release)))
    return 0 if worst == 1.0 else 1


def report(release: str, texts: Sequence[Text], signatures: SignatureSet, *, listed: bool) -> float:
    """Print one release; returns the share placed of what can end a start or an engine."""
    placed = [place(text, release, signatures) for text in texts if can_end(text)]
    logged = [place_logged(text, release, signatures) for text in texts if not text.ends]
    whole = _whole(placed)
    aside = Counter(stage_of(text) for text in texts if text.ends and not can_end(text))
    calm = sum(one.by is By.HARMLESS for one in logged)
    print(
        f"{release:<12} {whole.texts:>6} texts that can end it, {whole.of_one:7.2%} placed"
        f" ({whole.by[By.SIGNATURE]} by signature, {whole.by[By.FRAMES]} by frames);"
        f" {calm} of {len(logged)} logged texts harmless; aside: "
        + ", ".join(f"{stage} {count}" for stage, count in sorted(aside.items()))
    )
    if listed:
        for stage, share in sorted(shares(placed).items()):
            print(f"  {stage:<10} {share.texts:>6}  {share.of_one:7.2%}")
        print("  classes:", dict(Counter(str(one.failure) for one in placed).most_common()))
        for one in (*placed, *logged):
            if one.by is By.NOTHING:
                text = one.text
                at = f"{text.module}:{text.function}"
                print(f"  not placed: {one.failure} {at} {text.kind} {text.name} {text.template!r}")
    return whole.of_one


def _whole(placed: Sequence[Placed]) -> Share:
    whole = Share()
    for share in shares(placed).values():
        whole.texts += share.texts
        whole.placed += share.placed
        whole.by.update(share.by)
    return whole


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
