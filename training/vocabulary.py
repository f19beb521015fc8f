"""What `mini` can be told: its wordings, and a tokenizer whose vocabulary is made from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from roentmod.domain import FINDINGS, finding
from roentmod.editors.painter import FORMS
from roentmod.errors import UnknownFindingError
from roentmod.regions import DEPTHS, LEVELS

WIDTH = 128
LENGTH = 32
SIZE = 900
SEVERITY = {
    "mild": ("mild", "small", "subtle", "minimal"),
    "moderate": ("moderate", "", "medium"),
    "severe": ("severe", "large", "marked", "big"),
}
SIDE = {
    "left": ("left-sided", "left", "on the left"),
    "right": ("right-sided", "right", "on the right"),
    "both": ("bilateral", "both sided", "on both sides"),
}
NORMAL = (
    "no finding",
    "normal chest radiograph",
    "no acute cardiopulmonary process",
    "clear lungs, normal heart size",
    "no acute finding",
)
# What a removal says of a finding.
ABSENT = "no {finding}"
# How often what is known is said. Edits say all; what a user's own words leave open is left to the
# noise.
SAID = {"severity": 0.95, "side": 0.96, "place": 0.92, "form": 0.9}
FRAMES = ("{}", "{}", "chest radiograph with {}", "there is {}", "{} is seen", "findings: {}")


@dataclass(frozen=True)
class Example:
    """One picture's prompt ingredients; `host` is the row of the unpainted original, or -1.

    Places (spots of `roentmod.regions`) and forms go with the findings, "" where one has none.
    """

    findings: tuple[str, ...]
    side: str | None
    severity: str | None
    host: int
    places: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()


def from_labels(row: dict[str, str]) -> tuple[str, ...]:
    """Return the canonical findings of a cohort row; untrusted labels count as normal."""
    if row["trusted"] == "0":
        return ("No Finding",)
    found = []
    for label in row["labels"].split("|"):
        try:
            found.append(finding(label).name)
        except UnknownFindingError:
            # A label outside the catalogue teaches nothing, but must not be called normal.
            continue
    return tuple(found)


def say(example: Example, rng: np.random.Generator) -> str:
    """Return one wording of an example's findings."""
    if example.findings == ("No Finding",):
        return say_normal(rng)
    count = len(example.findings)
    looks = zip(example.places or [""] * count, example.forms or [""] * count, strict=True)
    parts = [
        _part(name, example, place, form, rng)
        for name, (place, form) in zip(example.findings, looks, strict=True)
    ]
    return str(rng.choice(FRAMES)).format(" and ".join(parts))


def _part(name: str, example: Example, place: str, form: str, rng: np.random.Generator) -> str:
    """Return the words of one finding: "moderate peripheral left upper zone nodule, smooth"."""
    item, noun = finding(name), _noun(name, rng)
    severity, side, zone, shape = (rng.random() < chance for chance in SAID.values())
    level = str(rng.choice(SEVERITY[example.severity])) if severity and example.severity else ""
    words = str(rng.choice(SIDE[example.side])) if side and example.side and item.sided else ""
    depth, where = _split(place) if zone else ("", "")
    behind = words.startswith("on ")
    front = (level, depth, "" if behind else words, where, noun, words if behind else "")
    said = " ".join(w for w in front if w)
    return f"{said}, {form}" if shape and form else said


def _noun(name: str, rng: np.random.Generator) -> str:
    item = finding(name)
    other = str(rng.choice([item.name.lower(), *item.aliases]))
    return item.phrase if rng.random() < 0.5 else other


def _split(place: str) -> tuple[str, str]:
    """Return depth and zone of a place, "" for those it leaves open."""
    first, _, rest = place.partition(" ")
    return (first, rest) if first in DEPTHS else ("", place)


def say_normal(rng: np.random.Generator) -> str:
    """Return one wording of a normal radiograph."""
    return str(rng.choice(NORMAL))


def say_absent(findings: Sequence[str], rng: np.random.Generator) -> str:
    """Return one wording of the absence of findings, which removals say."""
    return " and ".join(ABSENT.format(finding=_noun(name, rng)) for name in findings)


def corpus() -> list[str]:
    """Return every word `mini` is trained with, in phrases."""
    words = [w for item in FINDINGS for w in (item.phrase, item.name.lower(), *item.aliases)]
    words += [w for group in (*SEVERITY.values(), *SIDE.values()) for w in group]
    words += [*LEVELS, *DEPTHS, *(form for shares in FORMS.values() for form in shares)]
    return [*words, *NORMAL, *(frame.format("") for frame in FRAMES)]


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Return the tokenizer of `folder`, making it from `corpus` where there is none."""
    if not (folder / "vocab.json").exists():
        raw = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
        raw.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.BpeTrainer(
            vocab_size=SIZE,
            special_tokens=["<|startoftext|>", "<|endoftext|>"],
            initial_alphabet=[chr(c) for c in range(33, 127)],
            end_of_word_suffix="</w>",
        )
        raw.train_from_iterator(corpus() * 10, trainer)
        described = json.loads(raw.to_str())["model"]
        vocab = described["vocab"]
        # Every single character must also exist as the end of a word.
        for code in range(33, 127):
            vocab.setdefault(chr(code) + "</w>", len(vocab))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(vocab))
        merges = [" ".join(m) if isinstance(m, list) else m for m in described["merges"]]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
        special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
        special |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
        config = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
        (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    return CLIPTokenizer.from_pretrained(folder)


def tokens(made: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Return token ids, n x LENGTH."""
    ids: torch.Tensor = made(
        prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return ids
