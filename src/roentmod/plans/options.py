"""Options of a verb: the fields of its plans, each once, and the way back from options to plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

from roentmod.plans.base import Plan

__all__ = ["check_names", "fields_of", "part"]

P = TypeVar("P", bound=Plan)


def fields_of(plans: Iterable[type[Plan]]) -> dict[str, FieldInfo]:
    """Return the fields of plans by name, those of plans inside plans in their place."""
    fields: dict[str, FieldInfo] = {}
    for plan in plans:
        for name, field in plan.model_fields.items():
            inner = _inner(field)
            for key, value in fields_of([inner]).items() if inner else [(name, field)]:
                fields.setdefault(key, value)
    return fields


def part(kind: type[P], options: Mapping[str, Any], **more: Any) -> P:
    """Return the plan that options make, those it does not know left to others."""
    values = {name: options[name] for name in kind.model_fields if name in options}
    for name, field in kind.model_fields.items():
        inner = _inner(field)
        if inner and name not in values:
            values[name] = part(inner, options)
    return kind(**values | more)


def check_names(verb: str, plans: tuple[type[Plan], ...], options: Iterable[str]) -> None:
    """Refuse options that no plan knows.

    Raises:
        RoentModError: one, of the first plan's kind; the message names what is near.
    """
    inner = {n for p in plans for n, field in p.model_fields.items() if _inner(field)}
    known = [*fields_of(plans), *inner]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 3, 0.5) or known
            raise plans[0].error(
                f"{verb} has no option '{name}'; near it are {', '.join(near)}. Correct it."
            )


def _inner(field: FieldInfo) -> type[Plan] | None:
    return type(field.default) if isinstance(field.default, Plan) else None
