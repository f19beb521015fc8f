"""An audit's tables of readings, read a piece at a time: what is held of them are net effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from roentmod.classifiers import checks
from roentmod.errors import AuditError
from roentmod.science import effects

__all__ = ["TABLES", "Nets", "Numbers", "logits_of", "nets_of", "read_table"]

_NUMBERS = {"strength": "float64", "seed": "int64"}
# The tables that grow, with the types of their columns.
TABLES = {
    "predictions": {
        name: "float64" if name.startswith("logit") else _NUMBERS.get(name, "string")
        for name in effects.PREDICTIONS
    },
    "readings": {
        **dict.fromkeys(("classifier", "image_id", "patient_id", "read_finding"), "string"),
        "logit": "float64",
    },
}
# Types of columns that are no texts.
_PLAIN = (np.int32, np.float64, np.bool_)
# Rows that are read at a time.
_ROWS = 16_384
_FINDINGS = ["edited_finding", "read_finding"]
# Only doses need them, and those have a column by then.
_SPENT = ["severity", "strength", "seed"]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers that stand for ids while an audit is judged, in the order of the ids.

    Attributes:
        names: baseline ids, sorted, n texts.
        patients: the number of each one's patient, n.
        people: patient ids by number.
    """

    names: NDArray[np.object_]
    patients: NDArray[np.int32]
    people: pd.Index[str]

    @staticmethod
    def of(baselines: pd.DataFrame) -> Numbers:
        """Return the numbers of an audit's baselines and their patients."""
        table = baselines[["baseline_id", "patient_id"]].astype(str).sort_values("baseline_id")
        patients, people = pd.factorize(table["patient_id"], sort=True)
        names = table["baseline_id"].to_numpy(object)
        return Numbers(names, patients.astype(np.int32), pd.Index(people))

    def baselines(self, names: pd.Series[str]) -> NDArray[np.int32]:
        """Return the number of each baseline id.

        Raises:
            AuditError: one that is none.
        """
        rows, distinct = pd.factorize(names)
        places = np.searchsorted(self.names, distinct.to_numpy(object))
        strange = self.names.take(places, mode="clip") != distinct
        if strange.any():
            raise AuditError(
                "All tables of an audit are of the same radiographs; baselines.parquet lacks "
                f"'{distinct[strange][0]}'. Run the audit again in another folder."
            )
        return np.asarray(places[rows], np.int32)


@dataclass(frozen=True, eq=False)
class Nets:
    """What is held of a classifier's readings of edited pictures.

    Attributes:
        table: its `effects.net_effects`, less severity, strength and seed, with `base` (a pair of
            the matrix) and `dose` (its label); ids are `Numbers`, other texts categories.
        pairs: how many have both arms.
        still: heads that say the same of every picture, those of labelled ones included.
    """

    table: pd.DataFrame
    pairs: int
    still: tuple[str, ...]


def nets_of(folder: Path, classifier: str, record: Mapping[str, Any], numbers: Numbers) -> Nets:
    """Return what is held of a classifier's readings in the folder of an audit.

    Raises:
        OSError: a table is missing.
    """
    parts, spans, pairs = [], [], 0
    for piece in _cases(folder, classifier, numbers):
        arms = piece.groupby(["baseline_id", "pair_id"], observed=True)["arm"].nunique()
        pairs += int((arms == 2).sum())
        spans += [_span(piece, name) for name in ("logit_baseline", "logit_edited")]
        parts.append(_dosed(effects.net_effects(piece), record))
    spans.append(_span(read_table(folder, "readings", classifier), "logit"))
    return Nets(_joined(parts), pairs, _still(spans))


def logits_of(
    folder: Path, classifier: str, baselines: Sequence[str], read: Sequence[str]
) -> pd.DataFrame:
    """Return the readings of some findings in some baselines, as `read_table` has them.

    Raises:
        OSError: the table is missing.
    """
    wanted = [("baseline_id", "in", list(baselines)), ("read_finding", "in", list(read))]
    return read_table(folder, "predictions", classifier, wanted)


def read_table(
    folder: Path, name: str, classifier: str, wanted: Sequence[Any] = ()
) -> pd.DataFrame:
    """Return the rows of one classifier in a table of `TABLES`.

    Args:
        folder: of the audit.
        name: the table.
        classifier: its name.
        wanted: more filters, in pyarrow's form.

    Raises:
        OSError: the table is missing.
    """
    filters = [("classifier", "==", classifier), *wanted]
    table: pd.DataFrame = pq.read_table(folder / f"{name}.parquet", filters=filters).to_pandas()
    return table


def _cases(folder: Path, classifier: str, numbers: Numbers) -> Iterator[pd.DataFrame]:
    """Yield the readings of edited pictures, all of a case in one piece; at least one piece."""
    with pq.ParquetFile(folder / "predictions.parquet") as file:
        rest = _numbered(file.schema_arrow.empty_table(), numbers)
        for batch in file.iter_batches(_ROWS):
            own = pa.Table.from_batches([batch]).filter(pc.field("classifier") == classifier)
            rows = pd.concat([rest, _numbered(own, numbers)], ignore_index=True)
            # The last case may go on in the next batch.
            last = rows["baseline_id"].to_numpy()[-1:]
            others = np.flatnonzero(rows["baseline_id"].to_numpy() != last)
            cut = int(others[-1]) + 1 if len(others) else 0
            if cut:
                yield rows.iloc[:cut]
            rest = rows.iloc[cut:]
        yield rest


def _numbered(rows: pa.Table, numbers: Numbers) -> pd.DataFrame:
    """Return rows with numbers for ids."""
    places = numbers.baselines(rows["baseline_id"].to_pandas())
    own = rows.drop_columns(["baseline_id", "patient_id", "edit_id"]).to_pandas()
    return own.assign(baseline_id=places, patient_id=numbers.patients[places])  # type: ignore[no-any-return]


def _dosed(nets: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """Return net effects as `Nets.table` has them."""
    plan = record["plan"]
    plain = nets["severity"] == ""
    usual = nets["strength"] == plan["strength"]
    first = nets["seed"] == plan["seeds"][0]
    by_strength = plan["doses"] == "strength"
    label = nets["strength"].map("{:g}".format) if by_strength else nets["severity"]
    dosed = nets.assign(base=plain & usual, dose=label.astype(str).where(first, ""))
    kept = dosed.drop(columns=_SPENT)
    texts = [str(name) for name, kind in kept.dtypes.items() if kind not in _PLAIN]
    return kept.astype(dict.fromkeys(texts, "category"))


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one table; categories are sorted, and those of findings comparable."""
    columns: dict[str, Any] = {}
    for name in map(str, parts[0]):
        some = [part[name] for part in parts]
        texts = isinstance(some[0].dtype, pd.CategoricalDtype)
        columns[name] = (
            union_categoricals(some, sort_categories=True) if texts else np.concatenate(some)
        )
    names = sorted({one for column in _FINDINGS for one in columns[column].categories})
    changed = {column: columns[column].set_categories(names) for column in _FINDINGS}
    return pd.DataFrame(columns | changed)


def _span(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return number, least and largest of the finite logits of each head."""
    finite = rows[column].where(np.isfinite(rows[column]))
    return finite.groupby(rows["read_finding"]).agg(["count", "min", "max"])


def _still(spans: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    """Return the heads that say the same of every picture."""
    heads = pd.concat(spans).groupby(level=0).agg({"count": "sum", "min": "min", "max": "max"})
    still = []
    for head, count, low, high in heads.itertuples():
        # The ends stand for all.
        ends = np.resize(np.array([low, high], np.float32), (checks.MIN_IMAGES, 1))
        if count >= checks.MIN_IMAGES and checks.constant_heads(ends, (str(head),)):
            still.append(str(head))
    return tuple(still)
