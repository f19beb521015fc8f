"""Eight ways to say each finding, from terse to report style.

They are ours: the paper's prompts are not public. The first is how prompts of `roentmod.prompts`
say it; a generator that was taught by reports should take all of them alike.
"""

from __future__ import annotations

from roentmod.domain import finding

__all__ = ["wordings"]

_REPORTS: dict[str, tuple[str, str, str]] = {
    "Cardiomegaly": (
        "the heart is enlarged",
        "the cardiac silhouette is moderately enlarged",
        "the cardiothoracic ratio is increased, consistent with cardiomegaly",
    ),
    "Pleural Effusion": (
        "there is a pleural effusion",
        "blunting of the costophrenic angle, consistent with a pleural effusion",
        "layering fluid in the pleural space with a meniscus",
    ),
    "Edema": (
        "there is pulmonary edema",
        "diffuse interstitial and perihilar opacities, consistent with pulmonary edema",
        "increased vascular markings and haziness in both lungs, pulmonary edema",
    ),
    "Consolidation": (
        "there is a consolidation",
        "focal airspace opacity, consistent with consolidation",
        "a dense opacity with air bronchograms in the lung",
    ),
    "Pneumonia": (
        "there is a pneumonia",
        "patchy airspace opacity, consistent with pneumonia",
        "an ill-defined opacity in the lung, suspicious for pneumonia",
    ),
    "Atelectasis": (
        "there is atelectasis",
        "linear opacities at the base, consistent with atelectasis",
        "volume loss with a band of atelectasis in the lower lung",
    ),
    "Nodule": (
        "there is a lung nodule",
        "a small rounded opacity, consistent with a pulmonary nodule",
        "a well-circumscribed nodule less than 3 cm in the lung",
    ),
    "Mass": (
        "there is a lung mass",
        "a large rounded opacity, consistent with a pulmonary mass",
        "a mass greater than 3 cm in the lung",
    ),
    "Pneumothorax": (
        "there is a pneumothorax",
        "a visible pleural line without lung markings beyond it, consistent with pneumothorax",
        "air in the pleural space with partial collapse of the lung",
    ),
    "Hernia": (
        "there is a hiatal hernia",
        "a retrocardiac opacity with an air-fluid level, consistent with hiatal hernia",
        "a hiatal hernia behind the heart",
    ),
    "Support Devices": (
        "there are lines and tubes",
        "a central venous catheter and an endotracheal tube are in place",
        "support devices project over the chest",
    ),
}


def wordings(name: str) -> tuple[str, ...]:
    """Return eight different prompts for a finding, terse ones first.

    Raises:
        UnknownFindingError: the catalogue lacks it.
    """
    item = finding(name)
    other = next((alias for alias in item.aliases if alias != item.phrase), f"new {item.phrase}")
    there, described, reported = _REPORTS.get(
        item.name,
        (
            f"there is {item.phrase}",
            f"changes in the chest, consistent with {item.phrase}",
            f"the radiograph shows {item.phrase}",
        ),
    )
    return (
        item.phrase,
        other,
        f"findings of {item.phrase}",
        f"chest radiograph with {item.phrase}",
        there,
        described,
        f"FINDINGS: {reported}.",
        f"IMPRESSION: {item.phrase}.",
    )
