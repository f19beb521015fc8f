"""The page of an audit."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roentmod import domain
from roentmod.report import figures, standard
from roentmod.report.page import (
    Block,
    Legend,
    Page,
    Panels,
    Photograph,
    Photographs,
    Picture,
    Section,
    Verdict,
    badge,
)
from roentmod.report.tables import Cell, Table, across, pivot, ranged, settings, value
from roentmod.report.texts import Texts, listed
from roentmod.report.words import (
    NOTHING,
    Row,
    date,
    decimals,
    flat,
    interval,
    known,
    number,
    p_value,
    percent,
    readable,
    records,
    signed,
    triple,
    unique,
)
from roentmod.runs.record import EARLIER

if TYPE_CHECKING:
    from roentmod.jobs.audit.result import AuditResult, ClassifierResult, Example

__all__ = ["cell_sentence", "count_sentence", "ranked", "shown"]

_say = Texts(Path(__file__).with_name("page.md"))
# Different in black and white; in the order in which a reader wants them.
SYMBOLS = {
    "shortcut": "▲",
    "suppression": "▼",
    "leakage": "◐",
    "needs readers": "◎",
    "undecided": "?",
    "no yardstick": "∅",
    "too few": "×",
    "within margin": "✓",
    "on target": "◆",
}
_ORDER = {verdict: place for place, verdict in enumerate(SYMBOLS)}
_PLURALS = {"shortcut": "shortcuts", "suppression": "suppressions"}
_MARKERS = {"shortcut": "^", "suppression": "v", "leakage": "h", "undecided": "D", "too few": "x"}
_MARKERS |= {"needs readers": "s"}
_BADGES = {
    "shortcuts found": ("▲", "bad"),
    "no shortcut beyond the margin": ("✓", "good"),
    "undecided": ("?", "open"),
}
_EXAMPLES = 20  # triples of photographs per report: what keeps it a file one can send
_FOREST = 12  # lines of the figure of off-target pairs
_SUBGROUPS = 60  # rows of the table of subgroups
_NOTABLE = 0.05  # q of an interaction from which its pair is shown
_DOSES = 3  # lines of a panel of doses besides the edited finding's own


def shown(result: AuditResult) -> Page:
    """Return what is shown of an audit.

    Pictures that cannot be read are named. Those above 20 kB are reduced, and of more than twenty
    examples the rest are left to their folder, so that the file stays small.
    """
    plan, provenance = result.plan, result.provenance
    room = max(1, _EXAMPLES // max(1, len(result.classifiers)))
    pages = [_Classifier(one, plan, room) for one in result.classifiers]
    missing = standard.Missing(
        result.counts,
        "planned pairs of edit and classifier were read",
        [
            {**row, "stage": row["classifier"] or "editing", "finding": row["edited_finding"]}
            for row in records(result.items)
        ],
        "The message is that of the first item; every item is in the JSON.",
    )
    after = "" if plan.get("exact") else ", after leakage is taken off"
    score = _say("score", after=after, margin=_margin(plan))
    in_short: list[Block] = [one.in_short() for one in pages]
    warnings = [_say("warning", text=text) for text in provenance.get("warnings", ())]
    return Page(
        "Shortcut audit",
        f"Does a classifier of {_pictures(plan)} react to findings it should ignore? "
        f"RoentMod, {date(provenance)}.",
        (*(in_short or [_say("none")]), missing.in_short(), *warnings, score),
        (
            missing.section(),
            *(one.section(f"classifier-{place}") for place, one in enumerate(pages, 1)),
            _methods(plan, "second judge" if provenance.get("second") else "judge"),
            _say.section("limits", margin=_margin(plan)),
            standard.provenance(plan, provenance),
            Section(
                "How to reproduce", (_say("reproduce", command=_command(result)),), id="reproduce"
            ),
        ),
        overview=(settings("What was audited", _overview(result)),),
        about=", ".join(one.name for one in result.classifiers),
        synthetic="Counterfactual and difference pictures",
        studio=True,
    )


def _margin(plan: Mapping[str, Any]) -> str:
    return percent(plan["margin"]) if "margin" in plan else "the stated share"


def _pictures(plan: Mapping[str, Any]) -> str:
    """Return what the pictures are, in the plural: the domain of the findings edited says it."""
    names = [name for name in plan.get("findings", ()) if domain.key(name) in domain.words()]
    packs = [domain.named(domain.words()[domain.key(name)].domain) for name in names]
    return f"{next((pack.statement for pack in packs if pack), 'picture')}s"


def _overview(result: AuditResult) -> list[tuple[str, str]]:
    rows = [
        (f"Classifier {place}", f"{one.name} ({one.source})")
        for place, one in enumerate(result.classifiers, 1)
    ]
    for label, key in (("Editor", "editor"), ("Data", "data"), ("Findings edited", "findings")):
        setting = _setting(result, key, "name")
        if setting is not None:
            rows.append((label, ", ".join(shown for _, shown in flat({key: setting}))))
    control = result.provenance.get("control", EARLIER["control"])
    rows.append(("Control of counterfactuals", f"the {control}; of removals, the baseline"))
    if result.provenance.get("second"):
        judges = {"judge": "Judge, the gate", "second": "Second judge, whose leakage is taken off"}
        rows += [(word, standard.weights_named(result.provenance[k])) for k, word in judges.items()]
    rows.append(("Baselines", standard.baselines(result.baselines)))
    return [*rows, ("Date", date(result.provenance))]


def _setting(result: AuditResult, key: str, inner: str) -> Any:
    """Return what plan or provenance say of `key`, its `inner` entry where it has several."""
    setting = result.plan.get(key, result.provenance.get(key))
    return setting.get(inner, setting) if isinstance(setting, Mapping) else setting


def _methods(plan: Mapping[str, Any], witness: str) -> Section:
    exact, gate = bool(plan.get("exact", False)), number(plan.get("gate_logit"), 1)
    reach = f": the judge's net logit of the edited finding must reach {gate}"
    leakage = (
        "shown, but not taken off, as this editor changes nothing but the requested finding."
        if exact
        else "leakage, and is taken off."
    )
    return _say.section(
        "methods",
        gate=reach if "gate_logit" in plan else "",
        leakage=f"The {witness}'s share for the same pair is {leakage}",
        after="" if exact else ", after leakage is taken off",
        level=percent(plan.get("level", 0.95)),
        wrong=f"{50 * (1 - plan.get('level', 0.95)):g} %",
        margin=_margin(plan),
    )


def _command(result: AuditResult) -> str:
    """Return the command line of this audit, as recorded or as its parameters say."""
    if result.provenance.get("command"):
        return str(result.provenance["command"])
    parts = ["roentmod", "audit"]
    for one in result.classifiers:
        parts += ["--classifier", one.source]
    for key, inner in (("data", "root"), ("editor", "name"), ("findings", "")):
        setting = _setting(result, key, inner)
        if isinstance(setting, list | tuple):
            setting = ",".join(map(str, setting))
        if isinstance(setting, str):
            parts += [f"--{key}", setting]
    return shlex.join([*parts, "--out", "DIR"])


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Return rows by verdict, shortcuts first, then by size of the corrected ratio."""

    def place(row: Row) -> tuple[int, float, str, str]:
        return _ORDER.get(row["verdict"], len(_ORDER)), -_size(row), row["edited"], row["read"]

    return sorted(rows, key=place)


def _size(row: Row) -> float:
    return abs(float(row["corrected"])) if known(row["corrected"]) else -1.0


def _off_target(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not row["on_target"]]


def _called(rows: Iterable[Row], verdict: str) -> list[Row]:
    return [row for row in rows if row["verdict"] == verdict]


def _pair(row: Row, limit: int = 0) -> str:
    return f"{readable(row['edited'], limit)} → {readable(row['read'], limit)}"


def count_sentence(rows: Sequence[Row]) -> str:
    """Return how many off-target pairs have which verdict."""
    if not rows:
        return "No off-target pair was tested."
    counts = Counter(str(row["verdict"]) for row in rows)
    parts = [
        f"{counts[name]} {_PLURALS.get(name, name) if counts[name] != 1 else name}"
        for name in sorted(counts, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    ]
    what = "off-target pair" if len(rows) == 1 else "off-target pairs"
    return f"{len(rows)} {what}: {', '.join(parts)}."


def cell_sentence(row: Row, plan: Mapping[str, Any], *, removed: bool = False) -> str:
    """Return one off-target pair in a sentence: the effect, its interval, ratio and margin.

    Amounts are in the direction of the verb. Rows of removals come with their sign turned: a
    positive effect is a fall.
    """
    edited, read = readable(row["edited"]), readable(row["read"])
    action = "Removing" if removed else "Adding"
    effect, low, high = row["effect"], row["low"], row["high"]
    if not known(effect):
        return f"{action} {edited}: the effect on {read} is not known."
    if effect < 0:
        effect, low, high = -effect, -high, -low
    rises = (row["effect"] >= 0) is not removed
    amount = signed(effect, 1) if rises else number(effect, 1)
    inside = ""
    if known(low) and known(high):
        ends = interval(low, high, decimals(1))
        inside = f" ({percent(plan.get('level', 0.95))} CI {ends})"
    verb = "raises" if rises else "lowers"
    shown = f"{action} {edited} {verb} {read} by {amount} logits{inside}"
    margin = f"; margin {percent(plan['margin'])}" if "margin" in plan else ""
    return f"{shown}{_share(row, action.lower(), read)}{margin}."


def _share(row: Row, action: str, read: str) -> str:
    if not known(row["corrected"]):
        return f"; {read} has no sure effect of its own to compare with"
    other_way = ", the other way" if row["corrected"] < 0 else ""
    shown = f": {percent(abs(row['corrected']))} of what {action} {read} itself does{other_way}"
    if known(row["ratio"]) and percent(row["ratio"]) != percent(row["corrected"]):
        shown += f" ({percent(row['ratio'])} before leakage is taken off)"
    return shown


def _worst(off: Sequence[Row], plan: Mapping[str, Any]) -> str:
    """Return the pair that matters most in a sentence."""
    if not off:
        return count_sentence(off)
    if off[0]["verdict"] == "shortcut":
        return cell_sentence(off[0], plan)
    largest = max(off, key=_size)
    if not known(largest["corrected"]):
        return "No off-target effect could be compared with an own effect."
    return f"Largest off-target effect ({largest['verdict']}): {cell_sentence(largest, plan)}"


class _Classifier:
    """What is shown of one classifier."""

    def __init__(self, one: ClassifierResult, plan: Mapping[str, Any], room: int) -> None:
        self.one, self.plan, self.exact = one, plan, bool(plan.get("exact", False))
        self.rows: list[Row] = [*records(one.cells)]
        self.off = ranked(_off_target(self.rows))
        self.examples = _Examples(one.examples, room)
        symbol, self.style = _BADGES.get(one.verdict, ("•", "open"))
        self.badge = badge(symbol, one.verdict)
        self.worst = _say("worst", text=_worst(self.off, plan))
        self.counts = count_sentence(self.off)

    def in_short(self) -> Verdict:
        """Return the verdict in the summary."""
        name = _say("verdict", name=self.one.name, badge=self.badge)
        ends = interval(*self.one.score_ends, percent)
        inside = "" if ends == NOTHING else f" ({ends})"
        counts = _say("counts", counts=self.counts, score=f"{percent(self.one.score)}{inside}")
        return Verdict(self.style, (name, self.worst, counts))

    def section(self, place: str) -> Section:
        """Return the classifier's section, which links find at `place`."""
        texts = (_say("badge", badge=self.badge), self.worst, _say("faint", text=self.counts))
        parts = {
            "What each edit does to each reading": self._matrix(),
            "Ranked shortcuts": (*self._shortcuts(), self._forest()),
            "All pairs": (_cells(self.rows),),
            "Were the edits seen? (gate)": self._gate(),
            "Leakage": self._leakage(),
            "Dose curves": self._doses(),
            "Subgroups": (self._subgroups(),),
            "Reverse check: removing findings": self._reverse(),
            "Specificity under stress": self._stress(),
            "Heads": (_say.table("heads", self.one.heads),),
        }
        blocks = (Section(title, part) for title, part in parts.items())
        source = _say("faint", text=self.one.source)
        return Section(self.one.name, (source, Verdict(self.style, texts), *blocks), id=place)

    def _matrix(self) -> tuple[Block, ...]:
        if not self.rows:
            return (_say("untested"),)
        off = "" if self.exact else ", leakage taken off"
        caption = (
            "A row is what was added to the picture, a column what the classifier read. Percent "
            f"and colour: effect as a share of the read finding's own effect{off} (red raises, "
            "blue lowers). Below: net effect in logits. Framed: the finding read is the one "
            "edited. Hatched: no share, as the read finding has no own effect to compare with."
        )
        return _matrix(self.rows, self.plan.get("margin"), caption), Legend(SYMBOLS)

    def _shortcuts(self) -> list[Block]:
        blocks: list[Block] = []
        for place, row in enumerate(_called(self.off, "shortcut"), 1):
            sentence = _say("sentence", text=cell_sentence(row, self.plan))
            photographs = self.examples.of(row) or (_say("unseen"),)
            blocks.append(Section(f"{place}. {_pair(row)}", (sentence, *photographs)))
        if not blocks:
            blocks.append(_say("no-shortcut"))
        others = self.examples.others()
        if others:
            blocks.append(Section("Examples of other pairs", others))
        return [*blocks, self.examples.left_out()]

    def _forest(self) -> Block:
        drawn = sorted(
            (row for row in self.off if known(row["corrected"])), key=lambda r: -_size(r)
        )
        after = "" if self.exact else " after leakage is taken off"
        caption = f"The largest off-target effects{after}, shortcuts in colour."
        return _forest(drawn[:_FOREST], self.plan, caption) if drawn else None

    def _gate(self) -> tuple[Block, ...]:
        both = "second_share" in self.one.gate
        gate = _say.table("gate-both" if both else "gate", self.one.gate)
        return _say("gated"), gate, _say("ungated") if gate.rows else None

    def _leakage(self) -> tuple[Block, ...]:
        leaking = _called(self.off, "leakage")
        why = _say("exact" if self.exact else "leaking")
        tables: list[Block] = [_say.table("leakage", leaking, pair=_pair_cell)]
        if len(self.one.judges):
            shown = _say.table("judges", self.one.judges, pair=_pair_cell, verdicts=_verdicts)
            tables += [_say("both"), shown]
        return why, *tables

    def _doses(self) -> tuple[Block, ...]:
        chosen = _chosen_doses(records(self.one.doses))
        drawn = [row for lines in chosen.values() for line in lines for row in line]
        part = len(drawn) < len(self.one.doses)
        note = "Pairs that are not drawn are in the JSON." if part else ""
        if not drawn:
            return (_dose_table([], note),)
        how = _say("dosed", level=percent(self.plan.get("level", 0.95)))
        return _dose_panels(chosen), how, _dose_table(drawn, note)

    def _subgroups(self) -> Table:
        """Return the groups of pairs that are shortcuts or differ between groups."""
        rows = records(self.one.subgroups)
        named = {_pair(row) for row in _called(self.off, "shortcut")}

        def q(row: Row) -> float:
            return float(row["interaction_q"]) if known(row["interaction_q"]) else 2.0

        wanted = [row for row in rows if _pair(row) in named or q(row) < _NOTABLE]
        # Stable: the groups of one attribute stay together, in their order.
        shown = sorted(wanted, key=lambda r: (q(r), _pair(r), str(r["attribute"])))[:_SUBGROUPS]
        note = (
            f"Shown are {len(shown)} of {len(rows)} rows: pairs called a shortcut, and pairs whose "
            f"effect differs between groups (q < {_NOTABLE:g}). All are in the JSON."
        )
        return _say.table(
            "subgroups",
            shown,
            empty="No shortcut was found, and no effect differs between groups." if rows else "",
            note=note if len(shown) < len(rows) else "",
            pair=_pair_cell,
            tests=_interaction,
        )

    def _reverse(self) -> tuple[Block, ...]:
        rows: list[Row] = [*records(self.one.reverse)]
        off = ranked(_off_target(rows))
        called = [cell_sentence(row, self.plan, removed=True) for row in _called(off, "shortcut")]
        return (
            _say("worst", text=count_sentence(off)) if rows else None,
            listed(called) if called else None,
            _cells(
                rows,
                caption="All pairs of removal edits",
                empty="No removal edits were requested.",
                note="Effects with their sign turned: positive is a fall when the finding is "
                "removed.",
            ),
        )

    def _stress(self) -> tuple[Block, ...]:
        stress = _say.table("stress", self.one.stress, bootstrap=_bootstrap)
        return _say("stressed") if stress.rows else None, stress


@dataclass
class _Examples:
    """The photographs that a classifier has room for."""

    examples: Sequence[Example]
    room: int
    omitted: int = 0
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        pairs = len({(e.edited, e.read) for e in self.examples})
        self._per_pair = max(1, self.room // max(1, pairs))

    def of(self, row: Row) -> tuple[Photographs, ...]:
        """Return those of one pair."""
        return self._show(
            [e for e in self.examples if (e.edited, e.read) == (row["edited"], row["read"])]
        )

    def others(self) -> tuple[Photographs, ...]:
        """Return those of pairs that were not shown."""
        return self._show([e for e in self.examples if id(e) not in self._seen])

    def left_out(self) -> Block:
        """Return how many there was no room for."""
        if not self.omitted:
            return None
        are = "example is" if self.omitted == 1 else "examples are"
        return _say("omitted", count=self.omitted, are=are)

    def _show(self, examples: Sequence[Example]) -> tuple[Photographs, ...]:
        shown = examples[: min(self.room, self._per_pair)]
        self._seen.update(id(example) for example in examples)
        self.room -= len(shown)
        self.omitted += len(examples) - len(shown)
        return tuple(map(_photographs, shown))


def _photographs(example: Example) -> Photographs:
    change = (
        f"{example.read}: {signed(example.logit_sham, 1)} in the sham, "
        f"{signed(example.logit_counterfactual, 1)} in the counterfactual (logits)"
    )
    name, edited = example.baseline_id, example.edited
    alts = {
        "baseline": f"Baseline {name}, before editing.",
        "counterfactual": f"Synthetic counterfactual of {name} with {edited}. {change}.",
        "difference": f"Difference of counterfactual and baseline {name}, {edited}.",
    }
    shown = []
    for label, alt in alts.items():
        path: Path = getattr(example, label)
        real = label == "baseline" and example.real
        shown.append(Photograph(figures.photograph(path), alt, label, real, path.name))
    return Photographs(tuple(shown), f"{edited} added to {name}. {change}.")


def _matrix(rows: Sequence[Row], margin: float | None, caption: str) -> Picture:
    """Return edited x read findings: colour and text are the corrected ratio, below it the effect.

    On the diagonal, framed, stands the effect alone: it is the yardstick of its column.
    """
    edited, read = unique(rows, "edited"), unique(rows, "read")
    ticks: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    if margin is not None and 0.1 <= margin <= 0.4:
        ticks = (-1.0, -0.5, -margin, 0.0, margin, 0.5, 1.0)
    label = "Corrected share of the read finding's own effect"
    drawn = figures.grid(
        [_square(row) for row in rows],
        figures.Scale("RdBu_r", -1, 1, ticks, label),
        "Matrix of findings",
        down="Finding edited",
        across="Finding read by the classifier",
        alt=_matrix_alt(rows, len(edited), len(read)),
        columns=sorted(read, key=lambda name: edited.index(name) if name in edited else math.inf),
    )
    return replace(drawn, caption=caption)


def _square(row: Row) -> figures.Square:
    verdict, ratio = str(row["verdict"]), float(row["corrected"])
    symbol = SYMBOLS.get(verdict, "•")
    shown = f"{symbol} {percent(ratio)}" if known(ratio) and not row["on_target"] else symbol
    colour = None if row["on_target"] else math.nan if verdict == "too few" else ratio
    frame = figures.INK if row["on_target"] else ""
    small, bold = signed(row["effect"], 1), verdict == "shortcut"
    return figures.Square(row["edited"], row["read"], colour, shown, small, bold, frame)


def _matrix_alt(rows: Sequence[Row], edited: int, read: int) -> str:
    named = [row for row in _off_target(rows) if row["verdict"] != "within margin"]
    parts = [
        f"{_pair(row)} {percent(row['corrected'])} ({signed(row['effect'], 1)} logits), "
        f"{row['verdict']}"
        for row in named[:16]
    ]
    more = f" and {len(named) - 16} more" if len(named) > 16 else ""
    others = f"{'; '.join(parts)}{more}. The other pairs" if parts else "All pairs"
    return (
        f"Matrix of {edited} edited by {read} read findings. {others} are within the margin or on "
        "target. All numbers are in the table of pairs below."
    )


def _forest(rows: Sequence[Row], plan: Mapping[str, Any], caption: str) -> Picture:
    margin = float(plan["margin"]) if "margin" in plan else None
    note = "" if margin is None else f"; grey: margin of ±{percent(margin)}"
    level = percent(plan.get("level", 0.95))
    axis = f"Corrected share of the read finding's own effect, {level} CI{note}"
    points = [
        figures.Point(
            f"{_pair(row, 22)}  {SYMBOLS.get(str(row['verdict']), '•')}",
            triple(row, ("corrected", "corrected_low", "corrected_high")),
            colour=figures.ACCENT if row["verdict"] == "shortcut" else figures.INK,
            marker=_MARKERS.get(str(row["verdict"]), "o"),
        )
        for row in rows
    ]
    drawn = figures.intervals(
        points, figures.Axis(axis, percent, margin), "Off-target pairs by size, with intervals"
    )
    return replace(drawn, caption=caption)


def _chosen_doses(rows: Sequence[Row]) -> dict[str, list[list[Row]]]:
    """Return by edited finding the lines of its own reading and of the three that move most."""

    def size(line: list[Row]) -> float:
        effect = line[-1]["effect"]
        return abs(float(effect)) if known(effect) else -1.0

    chosen = {}
    for edited in unique(rows, "edited"):
        own = sorted((r for r in rows if r["edited"] == edited), key=lambda r: float(r["level"]))
        lines = [[r for r in own if r["read"] == read] for read in unique(own, "read")]
        lines.sort(key=lambda line: (line[0]["read"] != edited, -size(line)))
        main = sum(line[0]["read"] == edited for line in lines)
        chosen[edited] = lines[: main + _DOSES]
    return chosen


def _dose_panels(chosen: Mapping[str, list[list[Row]]]) -> Panels:
    keys = ("effect", "low", "high")
    rows = [row for lines in chosen.values() for line in lines for row in line]
    ends = [0.0, *(float(row[key]) for row in rows for key in keys if known(row[key]))]
    space = 0.06 * (max(ends) - min(ends)) or 1.0
    limits = (min(ends) - space, max(ends) + space)
    pictures = []
    for edited, lines in chosen.items():
        drawn = []
        for line in lines:
            own = line[0]["read"] == edited
            points = [(float(row["level"]), *triple(row, keys)) for row in line]
            drawn.append(
                figures.Line(f"{line[0]['read']}{' (edited)' if own else ''}", points, main=own)
            )
        ticks = {float(row["level"]): str(row["dose"]) for line in lines for row in line}
        panel = figures.Panel(f"Adding {readable(edited, 26)}", drawn, ticks)
        pictures.append(figures.lines([panel], "Net effect (logits)", limits=limits))
    return Panels(tuple(pictures))


def _dose_table(rows: Sequence[Row], note: str) -> Table:
    """Return effects as a table with one row per pair and one column per dose."""
    lines = pivot(rows, ("edited", "read"), "dose")
    doses = unique(sorted(rows, key=lambda row: float(row["level"])), "dose")
    columns = across(lines, ranged("", "effect").cell, doses)
    trend = value("p of trend", "trend_p", p_value)
    return _say.table("doses", lines, *columns, trend, note=note, pair=_pair_cell)


def _cells(rows: Sequence[Row], caption: str = "", empty: str = "", note: str = "") -> Table:
    return _say.table(
        "cells",
        ranked(rows),
        caption=caption,
        empty=empty,
        note=note,
        pair=_pair_cell,
        verdict=_verdict,
        tests=_margins,
        margin=_detectable,
    )


def _pair_cell(row: Row) -> Cell:
    return Cell(_pair(row))


def _verdict(row: Row) -> Cell:
    verdict = str(row["verdict"])
    # What is within the margin needs no reason beside its numbers.
    reason = "" if verdict == "within margin" else str(row["reason"])
    return Cell(f"{SYMBOLS.get(verdict, '•')} {verdict}", reason)


def _verdicts(row: Row) -> Cell:
    return Cell(str(row["verdict"]), f"by the judge: {row['first_verdict']}")


def _margins(row: Row) -> Cell:
    beyond = row["beyond_p"] if row["effect"] >= 0 else row["below_p"]
    return Cell(f"beyond {p_value(beyond)}", f"within {p_value(row['within_p'])}")


def _tests(row: Row) -> Cell:
    return Cell(f"p {p_value(row['p'])}", f"q {p_value(row['q'])}")


def _interaction(row: Row) -> Cell:
    return _tests({"p": row["interaction_p"], "q": row["interaction_q"]})


def _detectable(row: Row) -> Cell:
    return Cell(f"±{number(row['margin'])}", f"det. {number(row['detectable'])}")


def _bootstrap(row: Row) -> Cell:
    return Cell(interval(row["boot_low"], row["boot_high"], decimals(3)))
