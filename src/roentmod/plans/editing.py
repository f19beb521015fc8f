"""The plan of editing files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from roentmod.domain import finding
from roentmod.edits import Action, Edit, Scheduler, Severity, Side
from roentmod.errors import EditError, RoentModError
from roentmod.plans.base import Listed, parameter
from roentmod.plans.parts import BurnedIn, Composed

__all__ = ["EditPlan", "Files", "Format"]

Format = Literal["png", "dicom", "same"]


def _formats(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value or ("same",)


Held = Callable[[tuple[str, ...], tuple[str, ...]], tuple[str, ...]]


class EditPlan(Composed):
    """One or more edits, alike in everything but the finding."""

    error: ClassVar[type[RoentModError]] = EditError
    add: Listed = parameter(
        (),
        "Finding to add; repeat for more edits; 'A + B' adds both in one edit.",
        form="repeat",
    )
    remove: Listed = parameter((), "Finding to remove; as --add.", form="repeat")
    prompt: str | None = parameter(None, "Free prompt, instead of our wording.")
    side: Side | None = parameter(None, "The patient's side, of the findings that have sides.")
    severity: Severity | None = parameter(None, "How much of it.")
    form: str | None = parameter(
        None, "Its form, as the editor names it: 'spiculated', 'patchy', 'pacemaker'."
    )
    region: str | None = parameter(
        None,
        "Where it may change, in words: 'left lower zone', 'around heart + both hila', or 'usual': "
        "where the finding usually lies.",
    )
    hold: Listed = parameter(
        (), "Finding that must not come along; repeat. 'linked': those that usually do.",
        form="repeat",
    )  # fmt: skip
    scheduler: Scheduler | None = parameter(None, "Sampler; default: the generator's.")
    seed: int = parameter(0, "Noise, together with the radiograph.", ge=0, lt=2**63)

    def wanted(self) -> list[tuple[Action, tuple[str, ...]]]:
        """Return action and findings of each edit; of a free prompt alone, no finding.

        Raises:
            EditError: one prompt for several edits.
        """
        lists: tuple[tuple[Action, tuple[str, ...]], ...] = (
            ("add", self.add),
            ("remove", self.remove),
        )
        wanted = [(action, name) for action, names in lists for name in names]
        if self.prompt and len(wanted) > 1:
            raise EditError(f"--prompt words one edit; got {len(wanted)}. Run them one by one.")
        if not wanted:
            return [("add", ())]
        return [(action, tuple(p.strip() for p in name.split("+"))) for action, name in wanted]

    def edits(self, held: Held = lambda hold, _: hold) -> list[Edit]:
        """Return one edit per finding to add or remove, or one of the free prompt alone.

        The side is that of the edits whose findings have sides.

        Args:
            held: called with `hold` and an edit's findings, returns what it holds.

        Raises:
            EditError: nothing to do, one prompt for several edits, an edit that cannot be made, or
                a side where nothing has sides.
        """
        fixed = ("prompt", "severity", "form", "region", "scheduler", "seed")
        common = {name: getattr(self, name) for name in fixed}
        wanted = self.wanted()
        sided = [any(finding(name).sided for name in names) for _, names in wanted]
        return [
            self.edit(
                *names,
                action=action,
                hold=held(self.hold, names),
                side=self.side if has or not any(sided) else None,
                **common,
            )
            for (action, names), has in zip(wanted, sided, strict=True)
        ]


class Files(BurnedIn):
    """Files that editing reads and writes besides the radiographs."""

    error: ClassVar[type[RoentModError]] = EditError
    mask: Path | None = parameter(
        None, "PNG of the radiograph's shape; only its bright part changes."
    )
    format: Annotated[tuple[Format, ...], BeforeValidator(_formats)] = parameter(
        ("same",),
        "png, dicom or same (as the input, the default); may be repeated.",
        form="repeat",
    )
    secondary_capture: bool = parameter(False, "Write DICOM as secondary capture.")
    keep_ids: bool = parameter(
        False, "Write names of files as they are, not as salted hashes; DICOM stays deidentified."
    )
    deidentify: bool = parameter(
        True, "Keep nothing that names the patient; --no-deidentify is --keep-ids and DICOM's own."
    )
    burn_in: bool = parameter(False, "Write SYNTHETIC into the pixels of the files, too.")
    sign: str | None = parameter(
        None, "Sign PNG files (C2PA): 'local', a certificate that is made for you, or a PEM file."
    )
    no_judge: bool = parameter(False, "Do not let the judge read the results.")

    @property
    def kept(self) -> bool:
        """Whether names of files are written: identity is not kept without them."""
        return self.keep_ids or not self.deidentify
