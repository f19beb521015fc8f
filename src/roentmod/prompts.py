"""How each family of generators wants to be spoken to: profiles and prompt grammars.

No prompt list of the paper is public; each wording here is ours, documented and configurable.
"""

from __future__ import annotations

from dataclasses import dataclass

from roentmod.edits import Edit, Scheduler
from roentmod.findings import NO_FINDING, Finding

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True)
class Profile:
    """What is known of a generator beyond its weights.

    Attributes:
        name: profile name.
        normal: prompt of a normal radiograph (the sham arm); empty where words would treat.
        template: how an impression becomes a prompt; ``{impression}`` is replaced.
        size: working size in pixels, or None to take it from the U-Net and VAE.
        steps: default num_inference_steps.
        guidance_scale: the generator's own default; edits use 4.0 unless told otherwise.
        scheduler: default sampler.
        licence: what the weights may be used for.
    """

    name: str
    normal: str
    template: str = "{impression}"
    size: int | None = None
    steps: int = 75
    guidance_scale: float = 4.0
    scheduler: Scheduler = "ddim"
    licence: str = "unknown: ask whoever gave you the weights"

    def prompt(self, edit: Edit) -> str:
        """Return the prompt of the edit's finding (never the normal one)."""
        if edit.prompt:
            return edit.prompt
        if edit.findings == (NO_FINDING.name,):
            return self.normal
        said = " and ".join(_phrase(f, edit) for f in edit.as_findings())
        return self.template.format(impression=said)

    def pair(self, edit: Edit) -> tuple[str, str]:
        """Return the prompts to go towards and away from.

        Adding goes from the empty prompt towards the finding, as in the paper; removing goes from
        the finding towards the normal prompt. The sham arm goes towards the normal prompt.
        """
        if edit.arm == "sham":
            return self.normal, ""
        if edit.action == "remove":
            return self.normal, self.prompt(edit)
        return self.prompt(edit), ""


def _phrase(item: Finding, edit: Edit) -> str:
    side = None
    if item.sided and edit.side:
        side = "bilateral" if edit.side == "both" else f"{edit.side}-sided"
    return " ".join(word for word in (edit.severity, side, item.phrase) if word)


PROFILES = {
    "roentgen": Profile(
        "roentgen",
        "no acute cardiopulmonary process",
        size=512,
        licence="MIMIC-CXR credentialed use; on request from the authors",
    ),
    "roentgen-v2": Profile(
        "roentgen-v2",
        "Normal chest radiograph.",
        "{impression}.",
        size=512,
        guidance_scale=3.0,
        licence="see the model card",
    ),
    "radedit": Profile("radedit", "No acute cardiopulmonary process", size=512, steps=100),
    # To `mini` the words of a normal radiograph remove what looks like disease, and a control must
    # not treat: it is told nothing, which gives back what it is shown.
    "mini": Profile(
        "mini",
        "",
        size=224,
        steps=15,
        scheduler="dpmsolver++-logsnr",
        licence="Apache-2.0; trained on NIH ChestX-ray14 and CC BY 3.0 data, see the model card",
    ),
    "generic": Profile("generic", "normal chest radiograph"),
}
