"""The index of a plain folder: written from a data set, or begun from the headers of its pictures.

What is written is in `folder`'s own form: one row per picture, one column per finding.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd
from pydicom.dataset import Dataset as Header

from roentmod.datasets import fields
from roentmod.datasets.files import PICTURES, check_text, is_text, visible
from roentmod.datasets.folder import known_columns
from roentmod.datasets.labels import NAMES, joined
from roentmod.datasets.table import Dataset
from roentmod.domain import registered
from roentmod.errors import DatasetError
from roentmod.imaging import RASTER
from roentmod.imaging.checks import unheard
from roentmod.imaging.headers import read_header
from roentmod.store import open_bytes, write_bytes

__all__ = ["begin_index", "write_index"]

_ANSWERS = {"positive": "1", "negative": "0", "uncertain": "-1", "unmentioned": ""}
_TAGS = [
    "Modality", "BodyPartExamined", "Rows", "ViewPosition", "ViewCodeSequence",
    "PatientOrientation", "SeriesDescription", "ProtocolName", "StudyDescription",
    "PatientID", "IssuerOfPatientID", "PatientSex", "PatientAge", "PatientBirthDate",
    "StudyDate", "StudyInstanceUID", "Manufacturer", "ManufacturerModelName",
]  # fmt: skip
_PREAMBLE = 128


def write_index(dataset: Dataset, path: Path) -> int:
    """Write what is known of a data set's pictures as an index, and return its number of rows.

    Pictures whose files are missing are left out; all else loads as it was. Paths start at the
    index's folder where they lie under it.

    Raises:
        DatasetError: there is such a file, no picture has a file, or a label has the name of a
            column that is none of labels.
    """
    _refuse_existing(path)
    table = dataset.table[
        (dataset.table["unfit"] != "missing file") & (dataset.table["path"] != "")
    ]
    if table.empty:
        raise DatasetError(
            f"An index lists picture files; {dataset.name} has none. Give a data set with files."
        )
    frame = table[["image_id", "patient_id", "sex", "split", "site"]].copy()
    frame.insert(0, "path", [_relative(one, path.absolute().parent) for one in table["path"]])
    frame["view"] = table["view"].replace("unknown", "")
    frame["age"] = ["" if age != age else f"{age:g}" for age in table["age"]]
    if (table["unfit"] != "").any():
        frame["tier"] = table["unfit"]
    for name in NAMES:
        if (table[name] != "unmentioned").any():
            frame[name] = table[name].astype(str).map(_ANSWERS)
    others = [dict.fromkeys(joined(text)) for text in table["other_labels"]]
    labels = dict.fromkeys(name.rstrip("?") for row in others for name in row)
    _check_labels(labels, frame.columns)
    for label in labels:
        frame[label] = [
            "1" if label in row else "-1" if f"{label}?" in row else "" for row in others
        ]
    write_bytes(path, frame.to_csv(index=False).encode())
    return len(frame)


def begin_index(folder: Path, *, labels: str = "", salt: str | None = None) -> Counter[str]:
    """Write ``index.csv`` of the pictures in a folder, with what their headers say.

    View, sex and age come from DICOM; `site` is the device. Patients are hashes with a salt, which
    is random and forgotten, so that nothing leads back to their ids. Labels are the caller's.

    Args:
        folder: searched as a whole, save what is hidden; a DICOM file is known by its content,
            others by their suffix and first bytes.
        labels: said of all pictures, as in a cell of ``labels``.
        salt: of the hashes of patients; None draws one.

    Returns:
        How many "pictures" there are, and how many files were left out for which reason.

    Raises:
        DatasetError: there is an index, no picture, or the folder's path is no text.
    """
    if not folder.is_dir():
        raise DatasetError(f"An index is begun in a folder; {folder} is none. Check the path.")
    check_text(folder.absolute())
    _refuse_existing(folder / "index.csv")
    salt = secrets.token_hex(16) if salt is None else salt
    rows: list[dict[str, str]] = []
    counts: Counter[str] = Counter(pictures=0)
    failed: list[OSError] = []
    for path in sorted(Path(name) for name in visible(folder, failed.append)):
        facts, place = _header_facts(path, salt), _relative(str(path), folder.absolute())
        if isinstance(facts, str):
            counts.update([facts] if facts else ())
        elif not is_text(place):
            counts["name is no UTF-8"] += 1
        else:
            rows.append({"path": place, **facts})
    counts.update("unreadable" for _ in failed)
    counts["pictures"] = len(rows)
    if not rows:
        left = ", ".join(f"{reason} {n}" for reason, n in counts.items() if n)
        raise DatasetError(
            f"An index is begun from DICOM, PNG, JPEG or TIFF files; {folder} has none that is a "
            f"radiograph ({left or 'no picture'}). Name another folder."
        )
    frame = pd.DataFrame(rows).fillna("").assign(labels=labels)
    write_bytes(folder / "index.csv", frame.to_csv(index=False).encode())
    return counts


def _check_labels(labels: Collection[str], columns: Collection[str]) -> None:
    """Refuse labels whose columns would be read as facts beside the other columns."""
    fields = {*columns, *known_columns([*columns, *labels]).values()}
    wrong = [label for label in labels if label in fields]
    if wrong:
        raise DatasetError(
            f"An index has a column per label, and others of its own; the label '{wrong[0]}' is "
            "named as one of those. Name it otherwise."
        )


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise DatasetError(
            f"An index is not written over a file; {path} is there. Move it away, or name another."
        )


def _relative(path: str, folder: Path) -> str:
    place = Path(path)
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place)


def _header_facts(path: Path, salt: str) -> dict[str, str] | str:
    """Return what a picture's header says; or why it is left out, "" where it is no picture."""
    try:
        with open_bytes(path) as file:
            head = file.read(_PREAMBLE + 4)
            if head[_PREAMBLE:] == b"DICM":
                file.seek(0)
                with unheard():
                    header = read_header(file, stop_before_pixels=True, specific_tags=_TAGS)
                    return _unsuitable(header) or _facts(header, salt)
    except Exception:  # a damaged header raises nearly anything
        return "unreadable"
    if path.suffix.lower() not in PICTURES:
        return ""
    return {} if head.startswith(RASTER) else "unreadable"


def _unsuitable(header: Header) -> str:
    if "Rows" not in header:
        return "without picture"
    modality = _text(header, "Modality").upper()
    packs = [p for p in registered() if modality in (*p.modalities, *p.captures)]
    if not packs:
        return f"Modality {modality}"
    part = _text(header, "BodyPartExamined").upper()
    fits = any(not p.body_parts or any(known in part for known in p.body_parts) for p in packs)
    return "" if fits or not part else f"body part {part}"


def _facts(header: Header, salt: str) -> dict[str, str]:
    patient = _text(header, "PatientID") or _text(header, "StudyInstanceUID")
    named = f"{salt} {_text(header, 'IssuerOfPatientID')} {patient}"
    return {
        "patient_id": hashlib.sha256(named.encode()).hexdigest()[:12] if patient else "",
        "view": _view(header),
        "sex": fields.sex(_text(header, "PatientSex")),
        "age": _age(header),
        "site": f"{_text(header, 'Manufacturer')} {_text(header, 'ManufacturerModelName')}".strip(),
    }


def _text(header: Header, name: str) -> str:
    value: Any = header.get(name)
    return " ".join(str(value).split()) if value is not None else ""


def _view(header: Header) -> str:
    """Return what the header says of the view, "" where it says nothing."""
    codes = header.get("ViewCodeSequence") or []
    for text in (_text(header, "ViewPosition"), *(_text(one, "CodeMeaning") for one in codes)):
        if fields.view(text) != "unknown":
            return fields.view(text)
    told = " ".join(_text(header, name) for name in _TAGS[6:9]).upper()
    words = {word[:3] for word in re.findall(r"\b(PA\b|AP\b|LAT)", told)}
    if len(words) == 1:
        return "lateral" if words == {"LAT"} else words.pop()
    rows = (_text(header, "PatientOrientation").strip("[]'") or " ")[0]
    return "lateral" if rows in "AP" else "frontal" if rows in "LR" else ""


def _age(header: Header) -> str:
    age = fields.age(_text(header, "PatientAge"))
    born, then = _text(header, "PatientBirthDate")[:8], _text(header, "StudyDate")[:8]
    if age != age and re.fullmatch(r"\d{8}", born) and re.fullmatch(r"\d{8}", then):
        age = (int(then) - int(born)) // 10_000
    return f"{age:g}" if 0 <= age <= fields.OLDEST else ""
