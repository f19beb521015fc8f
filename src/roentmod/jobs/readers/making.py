"""A reader study is made: cases chosen, pictures written alike, orders drawn, all of it frozen."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod import datasets
from roentmod.datasets import Dataset
from roentmod.datasets.table import PHANTOMS
from roentmod.domain import SEVERITIES, finding
from roentmod.editors import compose
from roentmod.errors import ReadersError
from roentmod.imaging import marks
from roentmod.interfaces import Progress
from roentmod.jobs.readers import cases as choosing
from roentmod.jobs.readers.answers import TRUTH, truth_folder
from roentmod.jobs.readers.cases import Case
from roentmod.jobs.readers.design import KEY, PICTURES, PLAN, Design, load
from roentmod.jobs.readers.orders import Shown, assign, count_sessions, orders, pairings
from roentmod.plans import ReadersPlan
from roentmod.radiograph import Radiograph
from roentmod.store import canonical_hash, write_bytes, write_json

__all__ = ["freeze", "make"]

# From this answer on a finding counts as present, and side and severity are asked.
PRESENT = 4
# From this answer on a picture counts as altered.
ALTERED = 4
SCALES = {
    "finding": ["Absent", "Probably absent", "Undecided", "Probably present", "Present"],
    "side": ["Left", "Right", "Both sides"],
    "severity": [word.capitalize() for word in SEVERITIES],
    "realism": [
        "Surely real", "Probably real", "Rather real",
        "Rather altered", "Probably altered", "Surely altered",
    ],
    "pair": ["The left one", "The right one"],
}  # fmt: skip
OUTCOMES = [
    "Area under the curve of realism, edited against real cases, over readers and cases",
    "Share of edited cases in which the requested finding is read as present, per finding",
]
_STATEMENT = (
    "Some pictures of this study may be synthetic or altered. Research only; not for clinical use."
)


def make(
    folder: str | Path,
    edits: str | Path,
    real: Dataset,
    plan: ReadersPlan,
    *,
    nonce: bytes | None = None,
    progress: Progress | None = None,
) -> Design:
    """Choose cases, write their pictures alike, and freeze who reads what.

    The truth is written into a folder beside the study's, for the analysis alone.

    Args:
        folder: the study's; it must not hold one.
        edits: run of `edit`, or training set of `augment`.
        real: where real cases are from.
        plan: what is requested; numbers are upper bounds.
        nonce: as in `freeze`.
        progress: called with pictures done and in all.

    Raises:
        ReadersError: the folder holds a study, or there are no cases.
        InputError: a picture cannot be read.
    """
    place = Path(folder)
    _check_new(place)
    source = datasets.pseudonymous(real)
    cases = _chosen(choosing.edited(Path(edits)), source, plan)
    notes = []
    if real.name == PHANTOMS:
        notes.append("The cases that count as real are phantoms: nothing follows for readers.")
    return freeze(place, cases, plan, nonce=nonce, notes=notes, progress=progress)


def freeze(
    folder: Path,
    cases: Sequence[Case],
    plan: ReadersPlan,
    *,
    nonce: bytes | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Design:
    """Write a study of chosen cases: repeats, pairs and orders are drawn, the plan is hashed.

    Args:
        folder: the study's; it must not hold one.
        cases: all but repeats.
        plan: what is requested.
        nonce: 32 secret bytes that ids and drawing depend on besides the seed; None draws them.
        notes: what people must know, a sentence each.
        progress: called with pictures done and in all.

    Raises:
        ReadersError: the folder holds a study.
        InputError: a picture cannot be read.
    """
    _check_new(folder)
    secret = nonce or secrets.token_bytes(32)
    rng = np.random.default_rng([plan.seed, int.from_bytes(secret, "big")])
    known = {_id(secret, "case", number): case for number, case in enumerate(cases)}
    shown = [Shown(name, one.kind, one.patient, one.finding) for name, one in known.items()]
    shown += _repeats(shown, plan.repeats, secret, rng)
    readers = [f"r-{_id(secret, 'reader', number)[:8]}" for number in range(plan.readers)]
    groups = assign(shown, readers, plan.readings or plan.readers, rng)
    edited = [one for one in shown if one.kind == "edit"]
    reals = [one for one in shown if one.kind.startswith("real")]
    pairs = pairings(edited, reals, plan.pairs, rng)
    truth = {"nonce": secret.hex(), "cases": _truth(shown, known)}
    counts = Counter(one.kind for one in shown)
    pictures, sizes, covered = _write_pictures(folder, shown, known, plan, progress)
    notes = [*notes, *([f"Burned-in text is covered in {covered} cases."] if covered else [])]
    notes += _telling_facts([(known[one.case], sizes[one.case]) for one in (*edited, *reals)])
    content = _content(plan, list(plan.findings) or choosing.findings_of(cases)) | {
        "sessions": count_sessions(shown) + bool(pairs),
        "counts": dict(counts) | {"pairs": len(pairs)},
        "orders": orders(shown, pairs, groups, rng),
        "pictures": pictures,
        "notes": [*notes, *_fewer(plan, counts, len(pairs))],
        "truth_sha256": canonical_hash(truth),
    }
    _write_truth(folder, truth)
    write_bytes(folder / KEY, secrets.token_hex(32).encode())
    (folder / KEY).chmod(0o600)
    write_json(folder / PLAN, content | {"hash": canonical_hash(content)})
    return load(folder)


def _check_new(place: Path) -> None:
    for taken in (place / PLAN, truth_folder(place) / TRUTH):
        if taken.exists():
            raise ReadersError(f"A study is designed once; {taken} is there. Name another folder.")


def _id(secret: bytes, kind: str, number: int) -> str:
    """Return an opaque id, 12 hex digits, that follows from a secret alone."""
    return hmac.digest(secret, f"{kind} {number}".encode(), "sha256").hex()[:12]


def _content(plan: ReadersPlan, names: list[str]) -> dict[str, Any]:
    """Return what the plan says without its cases."""
    return {
        "statement": _STATEMENT,
        "plan": plan.facts(),
        "seed": plan.seed,
        "findings": names,
        "sided": [name for name in names if finding(name).sided],
        "scales": SCALES,
        "present": PRESENT,
        "altered": ALTERED,
        "blocks": ["findings", "realism", "pairs"],
        "outcomes": OUTCOMES,
        "exclusion": {
            "kind": "attention",
            "least": plan.passed,
            "rule": "A reader is excluded who reads the painted finding as present in less than "
            f"{plan.passed:.0%} of the attention cases; results are given with and without.",
        },
    }


def _chosen(edits: list[Case], real: Dataset, plan: ReadersPlan) -> list[Case]:
    """Return the cases of a study, repeats excepted."""
    shares = _shares(edits, plan)
    names = plan.findings or choosing.findings_of(shares)
    views: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for case in shares:
        if case.view:
            views[case.finding][case.view] += 1
    patients = {case.patient for case in shares}
    found = choosing.positives(real, names, views, plan.seed)
    positive = _apart(found, patients)[: plan.positives]
    patients |= {case.patient for case in positive}
    free = _apart(choosing.normals(real, plan.seed), patients)
    normal, rest = free[: plan.normals], free[plan.normals :]
    patients |= {case.patient for case in normal}
    others = [case for case in rest if case.patient not in patients]
    attention = choosing.painted(others, names, plan.attention)
    patients |= {case.patient for case in attention}
    spare = [case for case in (*edits, *others) if case.patient not in patients]
    practice = [replace(case, kind="practice") for case in spare[:: max(1, len(spare) // 8)]]
    return [*shares, *positive, *normal, *attention, *practice[: plan.practice]]


def _shares(edits: Sequence[Case], plan: ReadersPlan) -> list[Case]:
    """Return edits, evenly of their findings, patients in an order that a hash gives."""
    queues: defaultdict[str, list[Case]] = defaultdict(list)
    for case in sorted(edits, key=lambda one: _rank(plan.seed, one.patient)):
        if not plan.findings or case.finding in plan.findings:
            queues[case.finding].append(case)
    if not queues:
        raise ReadersError(
            f"A reader study needs edits of the findings that it asks; got none of "
            f"{', '.join(plan.findings)}. Name others, or edit again."
        )
    longest = max(map(len, queues.values()))
    ranked = [queue[n] for n in range(longest) for queue in queues.values() if n < len(queue)]
    return ranked[: plan.edited]


def _rank(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed} readers {text}".encode()).hexdigest()


def _apart(cases: Sequence[Case], patients: set[str]) -> list[Case]:
    """Return cases, those of other patients first."""
    return sorted(cases, key=lambda case: case.patient in patients)


def _repeats(
    shown: Sequence[Shown], count: int, secret: bytes, rng: np.random.Generator
) -> list[Shown]:
    """Return repeats, of edited and real cases alike, of one case per patient."""
    scored = [one for one in shown if one.kind == "edit" or one.kind.startswith("real")]
    one_each = {scored[n].patient: scored[n] for n in rng.permutation(len(scored))}
    some = list(one_each.values())[:count]
    return [
        one._replace(case=_id(secret, "repeat", number), kind="repeat", of=one.case)
        for number, one in enumerate(some)
    ]


def _truth(shown: Sequence[Shown], known: dict[str, Case]) -> list[dict[str, Any]]:
    rows = []
    for one in sorted(shown):
        case = known[one.of or one.case]
        facts: dict[str, Any] = {
            name: getattr(case, name) for name in ("side", "severity", "view", "source")
        }
        row: dict[str, Any] = {
            "case": one.case,
            "kind": one.kind,
            "of": one.of,
            "patient": case.patient,
        }
        row |= {"finding": case.finding, "present": list(case.present)}
        rows.append(row | facts | {"editor": case.editor})
    return rows


def _write_pictures(
    place: Path,
    shown: Sequence[Shown],
    known: dict[str, Case],
    plan: ReadersPlan,
    progress: Progress | None,
) -> tuple[dict[str, str], dict[str, str], int]:
    """Write every picture by one encoder, in the order of ids: one size, one length, one time.

    Returns:
        Hashes and pixel sizes of the originals by case, and in how many cases burned-in text was
        covered.
    """
    folder = place / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    hashes, sizes, covered = {}, {}, 0
    for done, one in enumerate(sorted(shown), 1):
        radiograph = known[one.of or one.case].open()
        found = marks.find(radiograph)
        covered += bool(found)
        clean = marks.cover(radiograph, found) if found else radiograph
        data = _encoded(clean, plan.side).tobytes()
        file = folder / f"{one.case}.raw"
        write_bytes(file, data)
        os.utime(file, (0, 0))
        hashes[one.case] = hashlib.sha256(data).hexdigest()
        sizes[one.case] = " x ".join(map(str, radiograph.pixels.shape))
        if progress is not None:
            progress(done, len(shown))
    return hashes, sizes, covered


def _telling_facts(cases: Sequence[tuple[Case, str]]) -> list[str]:
    """Return a sentence for each fact that alone tells edited from real cases, with pixel sizes."""
    edited = np.array([case.kind == "edit" for case, _ in cases])
    patients = np.array([case.patient for case, _ in cases], dtype=object)
    facts = {"view": [case.view for case, _ in cases], "pixel size": [size for _, size in cases]}
    found = {}
    for name, listed in facts.items():
        values = np.array(listed, dtype=object)
        some = values != ""
        found[name] = datasets.fact_auc(values[some], edited[some], patients[some])
    return [
        f"Readers may tell edited from real cases by their {name} alone (AUC {value:.2f}). Take "
        "real cases of the source that was edited."
        for name, value in found.items()
        if value is not None and value > datasets.PREDICTS
    ]


def _encoded(radiograph: Radiograph, side: int) -> NDArray[np.uint16]:
    """Return a picture as readers see it: padded to a square, side x side, 16 bits."""
    pixels = compose.shrink(radiograph, side)
    return np.rint(pixels.astype(np.float64) * 65535).astype("<u2")


def _write_truth(place: Path, truth: dict[str, Any]) -> None:
    folder = truth_folder(place)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(folder / TRUTH, truth)
    (folder / TRUTH).chmod(0o600)


def _fewer(plan: ReadersPlan, counts: Counter[str], pairs: int) -> list[str]:
    """Return one sentence that names what there are fewer of than requested."""
    kinds: dict[str, tuple[str, Callable[[], int]]] = {
        "edit": ("edited", lambda: plan.edited),
        "real_positive": ("positives", lambda: plan.positives),
        "real_normal": ("normals", lambda: plan.normals),
        "repeat": ("repeats", lambda: plan.repeats),
        "attention": ("attention", lambda: plan.attention),
        "practice": ("practice", lambda: plan.practice),
    }
    fewer = [
        f"{name} {counts[kind]} of {wanted()}"
        for kind, (name, wanted) in kinds.items()
        if counts[kind] < wanted()
    ]
    fewer += [f"pairs {pairs} of {plan.pairs}"] if pairs < plan.pairs else []
    return [f"Fewer than requested, as the data has fewer: {', '.join(fewer)}."] if fewer else []
