"""What a repair is given, as a study: the model with its heads, the data, the two editors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roentmod.classifiers import Judge
from roentmod.errors import RetrainError
from roentmod.jobs.study.bench import Bench
from roentmod.learning import samples, starts
from roentmod.learning.export import export
from roentmod.learning.starts import Start
from roentmod.plans import Rules
from roentmod.plans.parts import Audited
from roentmod.plans.repair import RepairPlan
from roentmod.plans.retrain import RetrainPlan
from roentmod.plans.study import StudyPlan
from roentmod.runs import Workers
from roentmod.store import atomic

__all__ = ["GIVEN", "Exported", "Given", "Tests", "bench_of", "exported"]

# The model as it was, among the classifiers that are audited.
GIVEN = "given"
# By name: data, split (None: all pictures), and "internal" or "external".
Tests = Mapping[str, tuple[str, str | None, str]]


@dataclass(frozen=True)
class Given:
    """What a repair is given.

    Attributes:
        model: a form of `roentmod.learning.starts`.
        data: a data set by name, with a training split.
        plan: how it is repaired.
        rules: how audits judge.
        chosen: what is audited on, and how data are read.
        tests: further ones than the data's own.
        device: of torch.
        trust: whether programs may be loaded.
    """

    model: str
    data: str
    plan: RepairPlan
    rules: Rules = field(default_factory=Rules)
    chosen: Audited = field(default_factory=Audited)
    tests: Tests = field(default_factory=dict)
    device: str = "cpu"
    trust: bool = False

    def opened(self) -> tuple[Start, int]:
        """Return the model, and the side of its pictures.

        Raises:
            RoentModError: it cannot be started from, or reads too few findings.
        """
        start, size = starts.opened(self.model, self.plan.model, trust=self.trust), self.plan.size
        if len(start.findings) < 2:
            raise RetrainError(
                "A shortcut is from one finding to another's head: a model to repair names two "
                f"heads at least; {start.name} names {', '.join(start.findings) or 'none'}. Name "
                "its heads (docs/repair.md)."
            )
        if "size" in self.plan.model_fields_set:
            starts.check_size(start, size)
        return start, start.size or size


@dataclass(frozen=True, eq=False)
class Exported:
    """The model as a classifier for audits.

    Attributes:
        graph: where its file is, once it is written.
        files: content by name, of the graph and what lies beside it.
    """

    graph: Path
    files: Mapping[str, bytes]

    def write(self) -> None:
        """Write what is not there yet."""
        if not self.graph.is_file():
            self.graph.parent.mkdir(parents=True, exist_ok=True)
            # A graph that is there has its card beside it.
            for name in sorted(self.files, reverse=True):
                with atomic(self.graph.parent / name) as part:
                    part.write_bytes(self.files[name])


def exported(given: Given, folder: Path) -> Exported:
    """Return the model as a classifier, with a place in `folder`; nothing is written yet."""
    start, size = given.opened()
    plan = RetrainPlan(
        findings=start.findings, start=given.model, size=size, model=given.plan.model
    )
    files = export(starts.begun(plan, 0), GIVEN, plan)
    graph = f"{GIVEN}.onnx"
    digest = hashlib.sha256(files[graph]).hexdigest()
    return Exported(folder.absolute() / f"{GIVEN}-{digest[:10]}" / graph, files)


def bench_of(given: Given, model: Path, workers: Workers) -> Bench:
    """Return what the stages of a repair have in common, with its study.

    Args:
        given: what the repair is given.
        model: the graph of `exported`; it need not be written yet.
        workers: who makes the parts of each stage.

    Raises:
        RoentModError: model, data or an editor cannot be used, or have too little in common.
    """
    start, size = given.opened()
    named = given.plan.findings or start.findings
    strange = [name for name in named if name not in start.findings]
    if strange:
        raise RetrainError(
            f"A repair keeps heads of its model ({', '.join(start.findings)}); got "
            f"{', '.join(strange)}. Leave them out."
        )
    bench = Bench(_spec(given, model, named, size), workers=workers, trust=given.trust)
    heads = _labelled(bench, named)
    bench.spec = _spec(given, model, heads, size, splits=_splits(bench))
    audit, edited = bench.spec.audit, _edited(bench, given.plan)
    assert audit is not None
    source = bench.audited_on.but(split=bench.audited_split)
    bench.spec = bench.spec.but(audit=audit.but(findings=edited, source=source))
    return bench


def _splits(bench: Bench) -> set[str]:
    return set(bench.data(bench.spec.train).table["split"])


def _spec(
    given: Given, model: Path, heads: tuple[str, ...], size: int, splits: set[str] | None = None
) -> StudyPlan:
    """Return a repair as a study; `splits` are those of the data."""
    plan, chosen = given.plan, given.chosen
    read = chosen.model_dump(include={"refuse_burned_in", "mask_burned_in", "ages", "keep_ids"})
    source = read | {"source": given.data, "images": chosen.images}
    own = {"test": (given.data, "test", "internal")} if "test" in (splits or ()) else {}
    split = chosen.split or ("test" if own else "val")
    tests = {
        name: (source if place == given.data else read | {"source": place})
        | {"split": one, "where": where}
        for name, (place, one, where) in (own | dict(given.tests)).items()
    }
    editor = {"name": plan.editor}
    rules = {name: getattr(given.rules, name) for name in Rules.model_fields if name != "exact"}
    audit = rules | {
        "classifiers": {GIVEN: f"onnx:{model}"},
        "source": source | {"split": split},
        "baselines": chosen.baselines or 10**6,
        "unseen": plan.unseen,
        "paired": True,
    }
    return StudyPlan.of(
        {
            "name": "Repair",
            "findings": heads,
            "train": source,
            "tests": tests,
            "device": given.device,
            "editor": editor,
            "audit": audit,
            "augment": {"baselines": plan.set_baselines, "hosts": plan.hosts},
            "retrain": plan.training() | {"start": given.model, "size": size},
        }
    )


def _labelled(bench: Bench, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the findings that training and validation have positives and negatives of.

    Raises:
        RetrainError: fewer than two.
    """
    data, plan = bench.data(bench.spec.train), bench.spec.retrain
    kept = np.ones(len(names), np.bool_)
    for split in ("train", "val"):
        targets = samples.labelled(data, split, plan, split).targets
        kept &= (targets == 1).any(axis=0) & (targets == 0).any(axis=0)
    heads = tuple(name for name, one in zip(names, kept, strict=True) if one)
    if len(heads) < 2:
        raise RetrainError(
            "A repair needs positives and negatives of two of the model's heads at least, in the "
            f"splits train and val; of {', '.join(names)} the data have those of "
            f"{', '.join(heads) or 'none'}. Give data with labels."
        )
    return heads


def _edited(bench: Bench, plan: RepairPlan) -> tuple[str, ...]:
    """Return the findings that both editors add and the judge sees, of the heads.

    Raises:
        RetrainError: fewer than two, or not the cause of a pair that was given.
    """
    judge = Judge.load().findings
    able = [getattr(one, "findings", None) for one in (bench.editor, bench.unseen)]
    edited = tuple(
        name
        for name in bench.spec.findings
        if name in judge and all(one is None or name in one for one in able)
    )
    wanted = dict.fromkeys(name for pair in plan.pairs for name in pair)
    lacking = [name for name in wanted if name not in edited]
    if lacking or len(edited) < 2:
        raise RetrainError(
            f"A repair edits findings that {plan.editor} and {plan.unseen} add, the judge sees and "
            f"the model reads: {', '.join(edited) or 'none'}; "
            + (f"got {', '.join(lacking)} in --pair." if lacking else "two are needed.")
            + " Choose other editors, or other pairs."
        )
    return edited
