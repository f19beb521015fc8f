"""What a reader is asked next: a pure function of the design and the answers so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from roentmod.jobs.readers.design import Design
from roentmod.jobs.readers.orders import Step

__all__ = ["Asked", "Option", "asked", "block_of", "following", "session_ends"]

REALISM, PAIR = "realism", "pair"


class Option(NamedTuple):
    """One possible answer: its value, and its words."""

    value: int
    words: str


class Asked(NamedTuple):
    """A question on a step of a reader.

    Attributes:
        position: of the step, from 1.
        step: the case or pair.
        question: as `read_answers` names it.
        words: the question.
        hint: what to bear in mind, or "".
        options: possible answers in order; the digit n chooses the n-th.
    """

    position: int
    step: Step
    question: str
    words: str
    hint: str
    options: tuple[Option, ...]


def following(
    design: Design, reader: str, position: int, values: Mapping[str, int]
) -> Asked | None:
    """Return the first question without an answer; None after the last.

    Args:
        design: of the study.
        reader: opaque id.
        position: of the last step with an answer; 0 before the first.
        values: answers on that step by question.
    """
    steps = design.steps[reader]
    for place in (position, position + 1):
        if 0 < place <= len(steps):
            given = values if place == position else {}
            question = _open(design, steps[place - 1], given)
            if question is not None:
                return asked(design, place, steps[place - 1], question)
    return None


def _open(design: Design, step: Step, values: Mapping[str, int]) -> str | None:
    """Return the first question of a step that has no answer."""
    if step.other:
        return None if PAIR in values else PAIR
    for name in design.findings:
        answer = values.get(f"finding:{name}")
        if answer is None:
            return f"finding:{name}"
        if answer < design.content["present"]:
            continue
        more = [f"side:{name}"] if name in design.content["sided"] else []
        for question in (*more, f"severity:{name}"):
            if question not in values:
                return question
    return None if REALISM in values else REALISM


def asked(design: Design, position: int, step: Step, question: str) -> Asked:
    """Return a question with its words and options."""
    kind, _, name = question.partition(":")
    first = 0 if kind == PAIR else 1
    scale = design.content["scales"][kind]
    options = tuple(Option(n, words) for n, words in enumerate(scale, first))
    words, hint = {
        "finding": (name, "Is it in this picture?"),
        "side": (f"{name}: on which side?", "The patient's side: right is at the left."),
        "severity": (f"{name}: how severe?", ""),
        REALISM: ("Is this picture real, or was it altered by a computer?", ""),
        PAIR: ("Which of the two pictures was altered by a computer?", "One of them was."),
    }[kind]
    return Asked(position, step, question, words, hint, options)


def block_of(question: str) -> str:
    """Return the block that a question belongs to."""
    return {REALISM: "realism", PAIR: "pairs"}.get(question, "findings")


def session_ends(design: Design, reader: str, position: int) -> bool:
    """Tell whether a step, from 1, is the first of another session than the one before."""
    steps = design.steps[reader]
    return 1 < position <= len(steps) and (
        steps[position - 1].session != steps[position - 2].session
    )
