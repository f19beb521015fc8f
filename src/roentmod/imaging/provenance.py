"""The record that an output image carries: one table of facts, the same in DICOM and PNG.

Nothing here depends on the clock, the machine's name or a path, so that the same edit of the same
baseline gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from xml.sax.saxutils import escape

import roentmod
from roentmod.edits import WITHOUT_SHAM, Edit
from roentmod.radiograph import Radiograph

__all__ = [
    "STATEMENT",
    "as_json",
    "describe",
    "own",
    "source_type",
    "summary",
    "title",
    "without_source",
    "xmp",
]

STATEMENT = "Synthetic image made by RoentMod. Not for clinical use."
_LIBRARIES = ("numpy", "torch", "diffusers", "transformers", "pydicom", "pillow")
_PARAMETERS = ("strength", "guidance_scale", "seed", "composite")
_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="{kind}" xmp:CreatorTool="{tool}">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{statement}</rdf:li></rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
_CHANGING = ("seconds", "timings", "peak_mb")


def describe(baseline: Radiograph, edit: Edit, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an output file records: source, edit, arm, model facts and versions.

    Args:
        baseline: the radiograph before editing.
        edit: the edit of this arm; give ``edit.sham()`` for the control arm.
        facts: what the editor reports (`Counterfactual.facts`); timings are left out.
    """
    return {
        "synthetic": "YES",
        "statement": STATEMENT,
        "digital_source_type": _source_type(facts.get("editor") == "painter", baseline.synthetic),
        "baseline_id": baseline.id,
        "source": baseline.source,
        "edit_id": edit.id,
        "arm": edit.arm,
        "edit": asdict(edit) | {"findings": list(edit.findings)},
        "model": {key: value for key, value in facts.items() if key not in _CHANGING},
        "versions": {"roentmod": roentmod.__version__} | _versions(),
    }


def own(radiograph: Radiograph) -> dict[str, Any] | None:
    """Return what a file of an unedited radiograph records; None where it is of a patient."""
    if not radiograph.synthetic:
        return None
    return {
        "synthetic": "YES",
        "statement": STATEMENT,
        # An array was drawn, as phantoms are; a file may be anyone's composite.
        "digital_source_type": _source_type(True, not radiograph.origin),
        "baseline_id": radiograph.id,
        "source": radiograph.source,
        "arm": "baseline",
        "versions": {"roentmod": roentmod.__version__},
    }


def _source_type(drawn: bool, whole: bool) -> str:
    """Return IPTC's word for a picture: drawn or by a trained network, whole or in part."""
    if drawn:
        return "algorithmicMedia" if whole else "compositeSynthetic"
    return "trainedAlgorithmicMedia" if whole else "compositeWithTrainedAlgorithmicMedia"


def source_type(facts: Mapping[str, Any]) -> str:
    """Return IPTC's digital source type of a picture, as the address of its term."""
    kind = facts.get("digital_source_type", "compositeWithTrainedAlgorithmicMedia")
    return f"{_VOCABULARY}{kind}"


def xmp(facts: Mapping[str, Any]) -> str:
    """Return what facts say in XMP, for programs that look for marks of synthetic pictures.

    The property is IPTC's DigitalSourceType (Photo Metadata Standard 2025.1, IPTC Extension).
    """
    return _XMP.format(
        kind=source_type(facts),
        tool=f"RoentMod {roentmod.__version__}",
        title=escape(title(facts)),
        statement=escape(str(facts.get("statement", STATEMENT))),
    )


def without_source(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return `facts` less the source's file name, as people put names of patients there."""
    return {key: value for key, value in facts.items() if key != "source"}


def as_json(facts: Mapping[str, Any]) -> str:
    """Return `facts` as one line of ASCII JSON with sorted keys."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)


def title(facts: Mapping[str, Any]) -> str:
    """Return a name for the picture in at most 64 characters, which begins with SYNTHETIC."""
    edit = facts.get("edit", {})
    what = ", ".join(edit.get("findings", ())) or "free prompt"
    verb = "without" if edit.get("action") == "remove" else "with"
    # There the counterfactual's control is the baseline.
    arm = "not the control" if edit.get("composite") in WITHOUT_SHAM else "control arm"
    named = {"sham": f"sham ({arm})", "baseline": "radiograph, not edited again"}
    text = named.get(str(facts.get("arm")), f"{verb} {what}")
    return f"SYNTHETIC {text}"[:64]


def summary(facts: Mapping[str, Any]) -> str:
    """Return the facts that matter most as one sentence list of at most 1024 characters."""
    edit = facts.get("edit", {})
    parts = [
        str(facts.get("statement", STATEMENT)),
        f"{title(facts)};",
        *(f"{key} {edit[key]};" for key in ("side", "severity", "form", "region") if edit.get(key)),
        *(f"held: {name};" for name in edit.get("hold", ())),
        *(f"{key} {edit[key]};" for key in _PARAMETERS if key in edit),
        *([f"edit {facts['edit_id']};"] if "edit_id" in facts else []),
        f"baseline {facts.get('baseline_id')};",
        f"roentmod {roentmod.__version__}.",
    ]
    return " ".join(parts)[:1024]


@cache
def _versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
