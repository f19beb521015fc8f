"""Procedural radiographs as a data set: "phantoms:N" or "phantoms:N:seed", no files, known anatomy.

Nothing is painted into them, so they are "No Finding", and every finding is negative. Only "Text
Marker" is unmentioned, as all of them show the letter of their side. Ages are drawn from the seed,
20 to 89 years, and show in no pixel.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from roentmod.datasets.labels import NAMES, Vocabulary, named
from roentmod.datasets.phantom import sex_and_view
from roentmod.datasets.table import PHANTOMS, Draft, Part
from roentmod.domain import NO_FINDING
from roentmod.errors import DatasetError

__all__ = ["draft"]

_MOST = 100_000


def draft(spec: str) -> Draft:
    """Return the phantoms of "N" or "N:seed" (default 0); pictures get the seeds from that one on.

    Raises:
        DatasetError: not whole numbers, none or too many pictures, or a negative seed.
    """
    numbers = re.fullmatch(r"(\d+)(?::(\d+))?", spec)
    count, seed = map(int, numbers.groups("0")) if numbers else (0, 0)
    if not 0 < count <= _MOST:
        raise DatasetError(
            f"Phantoms are requested as phantoms:N or phantoms:N:seed, N from 1 to {_MOST:,} and "
            f"the seed not negative; got 'phantoms:{spec}'."
        )
    seeds = range(seed, seed + count)
    bodies = [sex_and_view(one) for one in seeds]
    ages = [int(np.random.default_rng([one, 1]).integers(20, 90)) for one in seeds]
    names = [f"phantom-{one}" for one in seeds]
    facts = pd.DataFrame(
        {
            "image_id": names,
            "patient_id": names,
            "origin": names,
            "age": [str(age) for age in ages],
            "sex": [sex for sex, _ in bodies],
            "view": [view for _, view in bodies],
            "site": PHANTOMS,
        }
    )
    absent = [name for name in NAMES if name not in (NO_FINDING.name, "Text Marker")]
    texts = np.full(count, NO_FINDING.name, dtype=object)
    return Draft(PHANTOMS, Path(), [Part(facts, named(texts, Vocabulary(), looked_for=absent))])
