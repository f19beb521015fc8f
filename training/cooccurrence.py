"""The co-occurrence of findings that the package brings: the published labels of NIH ChestX-ray14.

``python -m training.cooccurrence --data DIR`` counts the 112,120 images of ``Data_Entry_2017*.csv``
in DIR; no picture is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from roentmod import datasets
from roentmod.jobs.augment.matrix import DEFAULT, save_cooccurrence
from roentmod.science.cooccurrence import CoOccurrence, from_labels


def count(data: Path) -> CoOccurrence:
    """Return the co-occurrence in NIH ChestX-ray14, images counted, patients as clusters."""
    loaded = datasets.load(f"nih:{data}", check_files=False)
    patients = loaded.table["patient_id"].nunique()
    source = (
        "NIH ChestX-ray14 (Wang et al., CVPR 2017), labels mined from reports, "
        f"{len(loaded):,} images of {patients:,} patients"
    )
    return from_labels(loaded.table, source=source)


def main() -> None:
    """Count, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DEFAULT)
    options = parser.parse_args()
    matrix = count(options.data)
    save_cooccurrence(matrix, options.out)
    print(matrix.table().sort_values("rate").tail(8).to_string(index=False))


if __name__ == "__main__":
    main()
