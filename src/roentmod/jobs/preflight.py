"""The look at a data set before anything is done with it: what was understood, and is it enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import pandas as pd

from roentmod import datasets
from roentmod.datasets import Dataset
from roentmod.errors import DatasetError
from roentmod.plans import Rules
from roentmod.plans.parts import Ages

__all__ = ["Preflight", "run"]


@dataclass(frozen=True, eq=False)
class Preflight:
    """What is understood of a data set.

    Attributes:
        data: the data set.
        usable: how many baselines there are for each of `Ages`, one per patient.
        needed: how many an audit judges from.
        why: what pictures fell to, where no adult is a baseline; "" otherwise.
        predictors: as `datasets.predictors` returns them.
        sizes: pixel sizes of some of the pictures, and how often each occurs.
        burned_in: as `datasets.burned_in` returns it.
    """

    data: Dataset
    usable: dict[str, int]
    needed: int
    why: str
    predictors: pd.DataFrame
    sizes: dict[str, int]
    burned_in: dict[str, int]

    def __repr__(self) -> str:
        """Return a line: name, pictures, baselines."""
        enough = "enough" if self.enough else f"an audit needs {self.needed}"
        return f"{self.data.name}: {len(self.data):,} pictures, {self.usable} baselines ({enough})"

    @property
    def enough(self) -> bool:
        """Whether an audit of adults has the patients that it needs."""
        return self.usable["adults"] >= self.needed

    def facts(self) -> dict[str, Any]:
        """Return everything in what JSON has a form for."""
        table = self.data.table
        counts = self.data.counts()
        said = counts[counts.drop(columns="unmentioned").sum(axis=1) > 0]
        ages = table["age"].dropna()
        return {
            **self.data.describe(),
            "pictures": len(table),
            "patients": int(table["patient_id"].nunique()),
            "tables": [asdict(one) for one in self.data.readings],
            "findings": said.to_dict(orient="index"),
            "views": _counted(table["view"]),
            "sexes": _counted(table["sex"]),
            "splits": _counted(table["split"][table["split"] != ""]),
            "sites": _counted(table["site"]),
            "ages": {
                "known": len(ages),
                "unknown": len(table) - len(ages),
                **({"least": float(ages.min()), "most": float(ages.max())} if len(ages) else {}),
            },
            "sizes": self.sizes,
            "burned_in": self.burned_in,
            "unfit": _counted(table["unfit"][table["unfit"] != ""]),
            "baselines": {
                "usable": self.usable,
                "needed": self.needed,
                "enough": self.enough,
                "why": self.why,
            },
            "predictors": self.predictors.to_dict(orient="records"),
            "problems": [asdict(one) for one in self.data.problems],
        }


def run(data: Dataset, *, looked: int = 2000, sample: int = 100) -> Preflight:
    """Look at a data set.

    Args:
        data: any.
        looked: pictures whose headers are read for their size.
        sample: pictures in which burned-in text is looked for.
    """
    usable, why = {}, ""
    for ages in get_args(Ages):
        try:
            usable[ages] = len(datasets.baselines(replace(data, ages=ages)))
        except DatasetError as error:
            usable[ages], why = 0, why or str(error)
    found = datasets.predictors(data, most=looked)
    seen = Counter(datasets.sizes(data, looked))
    seen.pop("", None)
    return Preflight(
        replace(data, problems=(*data.problems, *datasets.telling(found))),
        usable,
        Rules.model_fields["fewest"].default,
        why,
        found,
        dict(seen.most_common()),
        datasets.burned_in(data, sample),
    )


def _counted(column: pd.Series[Any]) -> dict[str, int]:
    return {str(name) or "unknown": int(n) for name, n in column.value_counts().items()}
