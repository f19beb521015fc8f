"""Options that several commands take, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from roentmod import domain as domains
from roentmod.cli.console import ERRORS
from roentmod.domain import Domain
from roentmod.errors import EditError

LINKED = "linked"
Engine = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
Precision = Literal["float32", "float16", "bfloat16"]
Pack = Annotated[
    str | None,
    typer.Option(
        "--domain", help="Kind of picture: cxr (the default), ct-slice, or a pack's TOML file."
    ),
]

Data = Annotated[str, typer.Option(help="Folder, KIND:FOLDER (nih, chexpert, ...), or phantoms:N.")]
Out = Annotated[Path, typer.Option(help="Run directory; the same command goes on in it.")]
Images = Annotated[
    Path | None, typer.Option(help="Where the pictures are, if not in the data folder.")
]
Split = Annotated[str | None, typer.Option(help="Only this split of the data.")]
EditorName = Annotated[str, typer.Option(help="mini, painter, a diffusers folder, or a hub id.")]
Findings = Annotated[
    str | None, typer.Option(help="Findings to add, by commas; default: all that fit.")
]
Strength = Annotated[float, typer.Option(help="Fraction of the noise schedule, (0, 1].")]
Guidance = Annotated[float, typer.Option(help="Classifier-free guidance.")]
Steps = Annotated[int | None, typer.Option(help="num_inference_steps; default: the generator's.")]
Host = Annotated[
    str | None, typer.Option(help="Folder or hub id that gives autoencoder and scheduler.")
]
Profile = Annotated[str | None, typer.Option(help="Prompt profile; default: told by the folder.")]
EngineName = Annotated[Engine, typer.Option(help="What runs the model.")]
Device = Annotated[str, typer.Option(help="torch device, such as cuda.")]
Arithmetic = Annotated[Precision, typer.Option(help="Arithmetic of the model.")]
Matrix = Annotated[
    Path | None, typer.Option(help="Of roentmod cooccurrence; default: NIH's, bundled.")
]


def pack_of(name: str | None, data: str = "") -> Domain:
    """Return the domain pack that a command works in, registered."""
    pack = domains.register(domains.load(name or "cxr"))
    if data.startswith("phantoms:"):
        pack.need_chest("--data phantoms")
    return pack


def judge_of(pack: Domain) -> Any:
    """Return the judge that a pack names."""
    from roentmod import classifiers

    if pack.judge is None:
        raise EditError(
            f"Edits are gated by a judge; the domain {pack.name} names none. Give its pack a "
            "'judge', in a form of --classifier."
        )
    return classifiers.load(pack.judge)


def fitting(models: Any, editor: Any, judge: Any) -> tuple[str, ...]:
    """Return the findings that every classifier reads, the judge reads and the editor adds."""
    able = getattr(editor, "findings", None)
    common = [f for f in judge.findings if able is None or f in able]
    return tuple(f for f in common if all(f in model.findings for model in models))


def held(hold: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the findings to hold, "linked" being those that NIH's labels link to `names`."""
    if LINKED not in hold:
        return hold
    from roentmod.jobs.augment import load_cooccurrence
    from roentmod.science.cooccurrence import linked

    if not names:
        raise EditError("--hold linked follows a finding that is edited; got none. Give --add.")
    matrix = load_cooccurrence()
    found = linked(matrix, names)
    said = f"{' + '.join(names)} holds {', '.join(found) or 'nothing'}: linked in {matrix.source}"
    ERRORS.print(said, soft_wrap=True, markup=False, highlight=False)
    return (*(name for name in hold if name != LINKED), *found)
