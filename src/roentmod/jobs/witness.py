"""The judge's view of single edits: is what was requested there, and what else rose?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.editors import compose
from roentmod.edits import Edit
from roentmod.interfaces import Classifier, Counterfactual
from roentmod.plans import Rules
from roentmod.radiograph import Radiograph

__all__ = ["Sight", "Witness"]

# The net change of a logit from which an edit counts, as in audits.
GATE: float = Rules.model_fields["gate_logit"].default
# The probability from which the judge reads a finding in a radiograph. Of 80 test radiographs
# labelled No Finding, 16 % have one; of 60 labelled with findings, 43 %. It proves nothing.
PRESENT = 0.5
# Other findings that a line of text names.
_NAMED = 3


@dataclass(frozen=True)
class Sight:
    """What the judge sees of one edit.

    Attributes:
        sees: whether all that was requested; None: it does not read it.
        facts: the same with numbers, as ``edits.json`` has them.
        words: the same in a few words.
    """

    sees: bool | None
    facts: dict[str, Any]
    words: str


@dataclass(frozen=True, eq=False)
class Witness:
    """A judge that reads edits of one radiograph."""

    judge: Classifier

    def present(self, radiograph: Radiograph) -> dict[str, float]:
        """Return the findings that the judge reads in a radiograph, with their probabilities."""
        (logits,) = self.judge.logits(self._small([radiograph]))
        pairs = zip(self.judge.findings, _chance(logits), strict=True)
        return {name: chance for name, chance in pairs if chance >= PRESENT}

    def look(self, one: Counterfactual) -> Sight:
        """Return what the judge sees of an edit, against its control.

        A finding counts as added or removed where its logit changes by `GATE` at least, at the side
        requested.
        """
        edit = one.edit
        control = one.control
        assert control is not None
        assert one.image is not None
        images = self._small([control, one.image])
        before, after = self.judge.logits(images)
        sides = self._sides(edit, images)
        facts: dict[str, Any] = {"control": edit.control, "requested": {}, "rose": {}}
        for name, low, high in zip(self.judge.findings, before, after, strict=True):
            own = {"control": _chance(low), "edited": _chance(high)}
            own["net"] = round(float(high - low), 2)
            if name in edit.findings:
                facts["requested"][name] = own | ({"side": sides[name]} if name in sides else {})
            elif own["net"] >= GATE:
                facts["rose"][name] = own
        sees = _sees(edit, facts["requested"])
        return Sight(sees, {"sees": sees, **facts}, _words(edit, sees, facts))

    def _small(self, radiographs: Sequence[Radiograph]) -> NDArray[np.float32]:
        return np.stack([compose.shrink(one, self.judge.size) for one in radiographs])

    def _sides(self, edit: Edit, images: NDArray[np.float32]) -> dict[str, str]:
        """Return the side at which each requested finding changed, where one side was requested."""
        sided = getattr(self.judge, "sided", ())
        wanted = [name for name in edit.findings if name in sided]
        if edit.side not in ("left", "right") or not wanted:
            return {}
        before, after = self.judge.sides(images)  # type: ignore[attr-defined]
        change = (after - before) * (1 if edit.action == "add" else -1)
        names = ("right", "left")
        return {name: names[int(change[sided.index(name)].argmax())] for name in wanted}


def _chance(logits: Any) -> Any:
    return np.round(1 / (1 + np.exp(-np.asarray(logits, np.float64))), 3).tolist()


def _sees(edit: Edit, requested: dict[str, Any]) -> bool | None:
    """Tell whether every finding changed as requested; None where one is not read."""
    if not edit.findings or set(edit.findings) - requested.keys():
        return None
    towards = 1 if edit.action == "add" else -1
    return all(
        towards * one["net"] >= GATE and one.get("side", edit.side) == edit.side
        for one in requested.values()
    )


def _words(edit: Edit, sees: bool | None, facts: dict[str, Any]) -> str:
    if sees is None:
        unread = sorted(set(edit.findings) - facts["requested"].keys())
        words = f"cannot say: does not read {', '.join(unread) or 'a free prompt'}"
    else:
        nets = ", ".join(_net(edit, one) for one in facts["requested"].values())
        words = f"{'sees it' if sees else 'does not see it'} ({nets})"
    rose = sorted(facts["rose"].items(), key=lambda item: -item[1]["net"])
    named = [f"{name} {one['net']:+.1f} (to {one['edited']:.2f})" for name, one in rose[:_NAMED]]
    named += [f"{len(rose) - _NAMED} more"] if len(rose) > _NAMED else []
    return f"{words}; also rose: {', '.join(named)}" if named else words


def _net(edit: Edit, one: dict[str, Any]) -> str:
    elsewhere = one.get("side", edit.side) != edit.side
    # Not "-0.0".
    return f"{round(one['net'], 1) + 0.0:+.1f}" + (f", on the {one['side']}" if elsewhere else "")
