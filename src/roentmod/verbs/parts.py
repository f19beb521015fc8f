"""What verbs load or work out from their options: pack, judge, editor, rates, findings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roentmod import domain as domains
from roentmod.domain import Domain, finding
from roentmod.errors import EditError
from roentmod.plans.options import part
from roentmod.plans.parts import EditorChoice, InDomain, Matrix, OnDevice, Trusting

if TYPE_CHECKING:
    from roentmod.interfaces import Classifier, RadiographEditor

__all__ = [
    "Names",
    "editor_of",
    "fitting",
    "held_of",
    "judge_of",
    "lazy_judge",
    "names_of",
    "pack_of",
    "rates_of",
    "say_needs",
]

log = logging.getLogger(__name__)
Names = str | Sequence[str]
# Stands for the findings that usually come along.
LINKED = "linked"


def pack_of(options: Mapping[str, Any], data: Any = None) -> Domain:
    """Return the domain pack that a verb works in, registered."""
    pack = domains.register(domains.load(part(InDomain, options).domain))
    if isinstance(data, str) and data.startswith("phantoms:"):
        pack.need_chest("--data phantoms")
    return pack


def _is_data(form: str) -> bool:
    """Return whether a file may choose a classifier: an ONNX file, or what the package brings."""
    return (
        form == "judge"
        or form.startswith(("onnx:", "demo:"))
        or (":" not in form and form.endswith(".onnx"))
    )


def lazy_judge(pack: Domain, options: Mapping[str, Any]) -> Classifier | str | None:
    """Return a pack's judge by its form, loaded where that has to be trusted; None without one."""
    plain = pack.judge is None or _is_data(pack.judge)
    return pack.judge if plain else judge_of(pack, options)


def judge_of(pack: Domain, options: Mapping[str, Any]) -> Classifier:
    """Return the judge that a pack names.

    Raises:
        EditError: it names none.
        WeightsError: it names a program or a server, which a file may not choose.
    """
    from roentmod import classifiers
    from roentmod.classifiers.programs import need_trust

    if pack.judge is None:
        raise EditError(
            f"Edits are gated by a judge; the domain {pack.name} names none. Give its pack a "
            "'judge', in a form of --classifier."
        )
    trust, form = part(Trusting, options).trust, pack.judge
    if not _is_data(form):
        why = f"a file chooses '{form[:80]}', and may choose onnx:FILE or a bundled one alone."
        need_trust(f"The judge of domain {pack.name}", trust, why)
    return classifiers.load(form, trust=trust)


def editor_of(editor: Any, options: Mapping[str, Any]) -> RadiographEditor:
    """Return an editor, loaded as options say where it is a name."""
    if not isinstance(editor, str | Path):
        return editor  # type: ignore[no-any-return]
    from roentmod.editors import Editor

    choice = part(EditorChoice, options, editor=str(editor))
    return Editor.load(editor, device=part(OnDevice, options).device, **choice.loading())


def rates_of(options: Mapping[str, Any]) -> Any:
    """Return the co-occurrence that options name; None where they name none.

    Raises:
        DatasetError: the file holds none.
    """
    from roentmod.jobs.augment import load_cooccurrence

    place = part(Matrix, options).matrix
    return load_cooccurrence(place) if place else None


def names_of(findings: Names | None, pack: Domain) -> tuple[str, ...]:
    """Return canonical names of a pack's findings; none where none are given."""
    listed = findings.split(",") if isinstance(findings, str) else findings or ()
    return pack.own(map(finding, listed))


def fitting(models: Mapping[str, Any], editor: Any, judge: Any) -> tuple[str, ...]:
    """Return the findings that every classifier reads, the judge reads and the editor adds."""
    able = getattr(editor, "findings", None)
    common = [f for f in judge.findings if able is None or f in able]
    return tuple(f for f in common if all(f in model.findings for model in models.values()))


def say_needs(patients: int, fewest: int, names: Sequence[str], models: Mapping[str, Any]) -> None:
    """Warn of what keeps an audit from a verdict."""
    if patients < fewest:
        log.warning(
            "a pair of findings is judged from %d patients on (--fewest); got %d baselines: "
            "nothing can be judged. Give more data, or more --baselines",
            fewest,
            patients,
        )
    for name, model in models.items():
        if len(names) < 2 or not set(names) & set(model.findings):
            log.warning(
                "%s: a head's reaction to another finding is measured by that to its own, so two "
                "findings at least are edited, one of which it reads; got %s: nothing can be "
                "judged",
                name,
                ", ".join(names) or "none",
            )


def held_of(hold: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the findings to hold, "linked" being those that NIH's labels link to `names`."""
    if LINKED not in hold:
        return hold
    from roentmod.jobs.augment import load_cooccurrence
    from roentmod.science.cooccurrence import linked

    if not names:
        raise EditError("--hold linked follows a finding that is edited; got none. Give --add.")
    matrix = load_cooccurrence()
    others = linked(matrix, names)
    what = f"{' + '.join(names)} holds {', '.join(others) or 'nothing'}"
    log.info("%s: linked in %s", what, matrix.source)
    return (*(name for name in hold if name != LINKED), *others)
