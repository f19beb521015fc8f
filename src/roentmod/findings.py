"""The findings RoentMod speaks of, their aliases in the public data sets, and how to say them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from roentmod.errors import UnknownFindingError

__all__ = ["FINDINGS", "NO_FINDING", "Finding", "finding"]


@dataclass(frozen=True)
class Finding:
    """A canonical radiological label.

    Attributes:
        name: canonical name, as in reports ("Pleural Effusion").
        phrase: how a prompt says it ("pleural effusion").
        aliases: other spellings accepted on input, lower case.
        sided: whether left and right make sense.
    """

    name: str
    phrase: str
    aliases: tuple[str, ...] = ()
    sided: bool = False


NO_FINDING = Finding("No Finding", "no finding", ("normal", "no findings", "no acute finding"))

FINDINGS: tuple[Finding, ...] = (
    NO_FINDING,
    Finding("Cardiomegaly", "cardiomegaly", ("enlarged heart", "enlarged cardiac silhouette")),
    Finding("Pleural Effusion", "pleural effusion", ("effusion",), sided=True),
    Finding("Edema", "pulmonary edema", ("oedema", "pulmonary oedema", "pulmonary edema")),
    Finding("Consolidation", "consolidation", ("airspace opacity",), sided=True),
    Finding("Pneumonia", "pneumonia", (), sided=True),
    Finding("Atelectasis", "atelectasis", ("collapse",), sided=True),
    Finding("Nodule", "lung nodule", ("nodule", "pulmonary nodule"), sided=True),
    Finding("Mass", "lung mass", ("mass", "pulmonary mass"), sided=True),
    Finding("Pneumothorax", "pneumothorax", ("ptx",), sided=True),
    Finding("Hernia", "hiatal hernia", ("hernia", "hiatus hernia")),
    Finding("Support Devices", "support devices", ("devices", "lines and tubes")),
    Finding("Text Marker", "text marker", ("marker", "laterality marker"), sided=True),
    Finding("Infiltration", "infiltration", ("infiltrate",), sided=True),
    Finding("Emphysema", "emphysema", ("hyperinflation",)),
    Finding("Fibrosis", "fibrosis", ("scarring",), sided=True),
    Finding("Pleural Thickening", "pleural thickening", ("pleural_thickening",), sided=True),
)


def _key(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").replace("-", " ").split())


_BY_KEY = {
    _key(word): item for item in FINDINGS for word in (item.name, item.phrase, *item.aliases)
}


def finding(name: str) -> Finding:
    """Return the finding that `name` (canonical, phrase or alias, any case) stands for.

    Raises:
        UnknownFindingError: no finding has that name; the message proposes the nearest.
    """
    key = _key(name)
    if key in _BY_KEY:
        return _BY_KEY[key]
    near = difflib.get_close_matches(key, _BY_KEY, n=1)
    hint = f"Did you mean '{_BY_KEY[near[0]].name}'?" if near else "Use --prompt for free text."
    known = ", ".join(item.name for item in FINDINGS)
    raise UnknownFindingError(f"Findings are: {known}; got '{name}'. {hint}")
