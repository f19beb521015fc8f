"""Procedural radiographs as a data set: "phantoms:N" or "phantoms:N:seed", no files, known anatomy.

Nothing is painted into them, so they are "No Finding", and every finding is negative. Only "Text
Marker" is unmentioned, as all of them show the letter of their side. Ages are drawn from the seed,
20 to 89 years, and show in no pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from roentmod.datasets.labels import NAMES, Vocabulary, named
from roentmod.datasets.phantom import phantom
from roentmod.datasets.table import PHANTOMS, Draft
from roentmod.errors import DatasetError
from roentmod.findings import NO_FINDING

__all__ = ["draft"]

_MOST = 100_000
# Sex and view are the body's, which is the same at any size.
_SMALL = 64


def draft(spec: str) -> Draft:
    """Return the phantoms of "N" or "N:seed" (default 0); pictures get the seeds from that one on.

    Raises:
        DatasetError: not whole numbers, none or too many pictures, or a negative seed.
    """
    count, seed = _numbers(spec)
    seeds = range(seed, seed + count)
    facts = [phantom(one, size=_SMALL).facts for one in seeds]
    names = np.array([f"phantom-{one}" for one in seeds], dtype=object)
    empty = np.full(count, "", dtype=object)
    texts = np.full(count, NO_FINDING.name, dtype=object)
    absent = [name for name in NAMES if name not in (NO_FINDING.name, "Text Marker")]
    ages = [int(np.random.default_rng([one, 1]).integers(20, 90)) for one in seeds]
    return Draft(
        name=PHANTOMS,
        root=Path(),
        image_id=names,
        path=empty,
        labels=named(texts, Vocabulary(), looked_for=absent),
        patient_id=names,
        view=np.array([one["view"] for one in facts], dtype=object),
        age=np.array([str(age) for age in ages], dtype=object),
        sex=np.array([one["sex"] for one in facts], dtype=object),
        split=empty,
        site=np.full(count, PHANTOMS, dtype=object),
        unfit=empty,
        origin=names,
    )


def _numbers(spec: str) -> tuple[int, int]:
    parts = spec.split(":")
    try:
        count, seed = (int(part) for part in [*parts, "0"][:2])
    except ValueError:
        count, seed = 0, 0
    if len(parts) > 2 or not 0 < count <= _MOST or seed < 0:
        raise DatasetError(
            f"Phantoms are asked for as phantoms:N or phantoms:N:seed, N from 1 to {_MOST:,} and "
            f"the seed not negative; got 'phantoms:{spec}'."
        )
    return count, seed
