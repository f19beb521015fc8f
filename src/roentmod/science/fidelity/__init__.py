"""Is an edited picture still this patient, and is the edit what was requested? Plain arithmetic.

`frechet` compares the features of two pictures (pFID), `likeness` their pixels and outlines,
`place` finds what moved, `artefacts` what an editor leaves in any picture, `lines` looks for tubes
that were not requested, `wording` divides variance between prompts and seeds, and `operating`
chooses strength and guidance.
Arrays and tables in, arrays and tables out.
"""

from __future__ import annotations

from roentmod.science.fidelity.artefacts import (
    Detected,
    Learner,
    detect,
    radial_spectrum,
    towards,
)
from roentmod.science.fidelity.frechet import (
    GROUPS,
    Gaussian,
    compare_groups,
    gaussian,
    own_closer,
    pfid,
    summarise,
)
from roentmod.science.fidelity.likeness import (
    dice,
    drift,
    inside_outside,
    nearest,
    perceptual,
    similarity,
)
from roentmod.science.fidelity.lines import LONG, longest_line
from roentmod.science.fidelity.operating import (
    SAME_THING,
    Rule,
    leakage,
    leakage_interval,
    points,
    recommend,
)
from roentmod.science.fidelity.place import displaced
from roentmod.science.fidelity.wording import agreement, intraclass

__all__ = [
    "GROUPS",
    "LONG",
    "SAME_THING",
    "Detected",
    "Gaussian",
    "Learner",
    "Rule",
    "agreement",
    "compare_groups",
    "detect",
    "dice",
    "displaced",
    "drift",
    "gaussian",
    "inside_outside",
    "intraclass",
    "leakage",
    "leakage_interval",
    "longest_line",
    "nearest",
    "own_closer",
    "perceptual",
    "pfid",
    "points",
    "radial_spectrum",
    "recommend",
    "similarity",
    "summarise",
    "towards",
]
