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
from roentmod.interfaces import Progress
from roentmod.jobs.readers import cases as choosing
from roentmod.jobs.readers.answers import TRUTH, truth_folder
from roentmod.jobs.readers.cases import Case
from roentmod.jobs.readers.design import KEY, PICTURES, PLAN, Design, load
from roentmod.jobs.readers.orders import Shown, assign, count_sessions, orders, pairings
from roentmod.plans import ReadersPlan
from roentmod.store import canonical_hash, write_bytes, write_json

__all__ = ["make"]

# From this answer on a finding counts as present, and side and severity are asked.
PRESENT = 4
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
        nonce: 32 secret bytes that ids and drawing depend on besides the seed; None draws them.
        progress: called with pictures done and in all.

    Raises:
        ReadersError: the folder holds a study, or there are no cases.
        InputError: a picture cannot be read.
    """
    place = Path(folder)
    for taken in (place / PLAN, truth_folder(place) / TRUTH):
        if taken.exists():
            raise ReadersError(f"A study is designed once; {taken} is there. Name another folder.")
    secret = nonce or secrets.token_bytes(32)
    source = datasets.pseudonymous(real)
    chosen, notes = _chosen(choosing.edited(Path(edits)), source, plan)
    names = list(plan.findings) or list(choosing.finding_of(c for c in chosen if c.kind == "edit"))
    rng = np.random.default_rng([plan.seed, int.from_bytes(secret, "big")])
    ids = [hmac.digest(secret, b"case %d" % n, "sha256").hex()[:12] for n in range(len(chosen))]
    shown = [Shown(i, c.kind, c.patient, c.finding) for i, c in zip(ids, chosen, strict=True)]
    shown += _repeats(shown, plan.repeats, secret, rng)
    readers = [f"r-{hmac.digest(secret, b'reader %d' % n, 'sha256').hex()[:8]}"
               for n in range(plan.readers)]  # fmt: skip
    groups = assign(shown, readers, plan.readings or plan.readers, rng)
    edited = [one for one in shown if one.kind == "edit"]
    reals = [one for one in shown if one.kind.startswith("real")]
    pairs = pairings(edited, reals, plan.pairs, rng)
    truth = {"nonce": secret.hex(), "cases": _truth(shown, dict(zip(ids, chosen, strict=True)))}
    pictures = _write_pictures(place, shown, dict(zip(ids, chosen, strict=True)), plan, progress)
    counts = Counter(one.kind for one in shown)
    content = {
        "statement": _STATEMENT,
        "plan": plan.facts(),
        "seed": plan.seed,
        "findings": names,
        "sided": [name for name in names if finding(name).sided],
        "scales": SCALES,
        "present": PRESENT,
        "blocks": ["findings", "realism", "pairs"],
        "sessions": count_sessions(shown) + bool(pairs),
        "counts": dict(counts) | {"pairs": len(pairs)},
        "outcomes": OUTCOMES,
        "exclusion": {
            "kind": "attention",
            "least": plan.passed,
            "rule": "A reader is excluded who reads the painted finding as present in a smaller "
            "share of the attention cases; results are given with and without.",
        },
        "orders": orders(shown, pairs, groups, rng),
        "pictures": pictures,
        "notes": [*notes, *_notes(plan, counts, len(pairs))],
        "truth_sha256": canonical_hash(truth),
    }
    _write_truth(place, truth)
    write_bytes(place / KEY, secrets.token_hex(32).encode())
    (place / KEY).chmod(0o600)
    write_json(place / PLAN, content | {"hash": canonical_hash(content)})
    return load(place)


def _chosen(edits: list[Case], real: Dataset, plan: ReadersPlan) -> tuple[list[Case], list[str]]:
    """Return the cases of a study, repeats excepted, and what people must know of them."""
    shares = _shares(edits, plan)
    names = plan.findings or choosing.finding_of(shares)
    views: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for case in shares:
        if case.view:
            views[case.finding][case.view] += 1
    patients = {case.patient for case in shares}
    positive = _apart(choosing.positives(real, names, 10**6, views, plan.seed), patients)
    positive = positive[: plan.positives]
    patients |= {case.patient for case in positive}
    free = _apart(choosing.normals(real, plan.seed), patients)
    normal, rest = free[: plan.normals], free[plan.normals :]
    others = [case for case in rest if case.patient not in patients]
    attention = choosing.painted(others, names, plan.attention)
    used = {case.patient for case in attention}
    spare = [*(c for c in edits if c not in shares), *(c for c in others if c.patient not in used)]
    practice = [replace(case, kind="practice") for case in spare[:: max(1, len(spare) // 8)]]
    notes = []
    if real.name == PHANTOMS:
        notes.append("The cases that count as real are phantoms: nothing follows for readers.")
    return [*shares, *positive, *normal, *attention, *practice[: plan.practice]], notes


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
        one._replace(
            case=hmac.digest(secret, b"repeat %d" % n, "sha256").hex()[:12],
            kind="repeat",
            of=one.case,
        )
        for n, one in enumerate(some)
    ]


def _truth(shown: Sequence[Shown], known: dict[str, Case]) -> list[dict[str, Any]]:
    rows = []
    for one in sorted(shown):
        case = known[one.of or one.case]
        facts = {name: getattr(case, name) for name in ("side", "severity", "view", "source")}
        row = {"case": one.case, "kind": one.kind, "of": one.of, "patient": case.patient}
        row |= {"finding": case.finding, "present": list(case.present)}
        rows.append(row | facts | {"editor": case.editor})
    return rows


def _write_pictures(
    place: Path,
    shown: Sequence[Shown],
    known: dict[str, Case],
    plan: ReadersPlan,
    progress: Progress | None,
) -> dict[str, str]:
    """Write every picture by one encoder, in the order of ids, and return their hashes.

    All have one size, and files one length and one time.
    """
    folder = place / PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for done, one in enumerate(sorted(shown), 1):
        data = _encoded(known[one.of or one.case], plan.side).tobytes()
        file = folder / f"{one.case}.raw"
        write_bytes(file, data)
        os.utime(file, (0, 0))
        hashes[one.case] = hashlib.sha256(data).hexdigest()
        if progress is not None:
            progress(done, len(shown))
    return hashes


def _encoded(case: Case, side: int) -> NDArray[np.uint16]:
    """Return a picture as readers see it: padded to a square, side x side, 16 bits."""
    pixels = compose.shrink(case.open(), side)
    return np.rint(pixels.astype(np.float64) * 65535).astype("<u2")


def _write_truth(place: Path, truth: dict[str, Any]) -> None:
    folder = truth_folder(place)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(folder / TRUTH, truth)
    (folder / TRUTH).chmod(0o600)


def _notes(plan: ReadersPlan, counts: Counter[str], pairs: int) -> list[str]:
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
