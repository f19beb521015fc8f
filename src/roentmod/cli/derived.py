"""Commands whose options are the fields of a verb's plans."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer
from pydantic.fields import FieldInfo

from roentmod.cli.console import app
from roentmod.plans.base import marks, rule
from roentmod.plans.options import fields_of
from roentmod.plans.parts import Running

__all__ = ["command"]

# `--shard I/N` stands for the form of workers.
_SHARD = "one_shard"
# `--allow-pickle` is the older name of `--trust`.
_OLDER = "allow_pickle"


def command(
    verb: Callable[..., Any], group: typer.Typer = app
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a command of a function and the options of a verb.

    The function's own parameters come first; it gets what was given of the others as keywords,
    by the names of the fields. A field that it names itself is no option again.

    Args:
        verb: has `plans`.
        group: of commands, which the new one joins.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(function, eval_str=True)
        named = [
            p.replace(kind=p.KEYWORD_ONLY)
            for p in own.parameters.values()
            if p.kind is not p.VAR_KEYWORD
        ]
        fields = {
            name: field
            for name, field in fields_of(cast(Any, verb).plans).items()
            if name not in own.parameters and not marks(field).get("hidden")
        }

        @functools.wraps(function)
        def run(**given: Any) -> None:
            if given.pop(_OLDER, False):
                given["trust"] = True
            shard = given.pop(_SHARD, None)
            if shard:
                first = given["workers"]
                given["workers"] = (
                    f"shard:{shard}" if first == "serial" else f"{first},shard:{shard}"
                )
            function(**{k: v for k, v in given.items() if v is not None or k in own.parameters})

        more = [_option(name, field) for name, field in fields.items()]
        if "trust" in fields:
            older = Annotated[bool, typer.Option("--allow-pickle", hidden=True)]
            more.append(_parameter(_OLDER, older, False))
        if Running in cast(Any, verb).plans:
            help = "I/N: make the I-th of N shares only, I from 0; a plain run then finishes."
            option = Annotated[str | None, typer.Option("--shard", help=help)]
            more.append(_parameter(_SHARD, option, None))
        ordered = sorted([*named, *more], key=lambda p: p.default is not p.empty)
        cast(Any, run).__signature__ = own.replace(parameters=ordered)
        run.__annotations__ = {p.name: p.annotation for p in ordered}
        group.command()(run)
        return run

    return decorate


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return a field as the parameter of a command."""
    words, default, kind = marks(field), field.default, cast(Any, field.annotation)
    match words.get("form"):
        case "commas":
            kind, default = str, ",".join(map(str, default)) if isinstance(default, tuple) else ...
            default = default or None
        case "count":
            kind, default = int, len(default)
        case "repeat":
            kind, default = list[str], None
    if words.get("optional"):
        default = None
    elif field.is_required():
        default = inspect.Parameter.empty
    if default is None:
        kind = kind | None
    spelled = "--" + words.get("option", name.replace("_", "-"))
    if default is True:
        spelled += "/--no-" + spelled.removeprefix("--")
    bounds = rule(field)
    help = field.description or ""
    help = f"{help.rstrip('.')}; {bounds}." if bounds else help
    return _parameter(name, Annotated[kind, typer.Option(spelled, help=help)], default)
