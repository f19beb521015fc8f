"""What the stages of a study have in common: data, editors, classifiers, folders."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod import classifiers, datasets
from roentmod.datasets import Dataset
from roentmod.datasets.fields import split_name
from roentmod.editors import Editor
from roentmod.errors import StudyError
from roentmod.interfaces import Classifier, RadiographEditor
from roentmod.jobs import augment
from roentmod.plans import EditorChoice
from roentmod.plans.parts import Foreign
from roentmod.plans.study import Source, StudyPlan
from roentmod.runs import Workers
from roentmod.science.cooccurrence import CoOccurrence

__all__ = ["Bench", "split_of"]

log = logging.getLogger(__name__)


@dataclass
class Bench:
    """What stages have in common: the study, its parts once loaded, folders, workers, trust."""

    spec: StudyPlan
    folders: dict[str, Path] = field(default_factory=dict)
    workers: Workers = field(default_factory=Workers)
    trust: bool = False
    _loaded: dict[tuple[Any, ...], Dataset] = field(default_factory=dict)
    _warnings: dict[tuple[Any, ...], list[str]] = field(default_factory=dict)

    def data(self, source: Source) -> Dataset:
        """Return a data set before anything is planted; the training's has a validation split.

        Only the training's: a test's radiographs are all tested.
        """
        key = _read(source)
        if key not in self._loaded:
            data = datasets.load(source.source, images=source.images, ages=source.ages)
            data = datasets.screening(data, source)
            data = data if source.keep_ids else datasets.pseudonymous(data)
            own = key == _read(self.spec.train)
            rule = self.spec.retrain.unmentioned
            known = datasets.predictors(data, self.spec.findings, unmentioned=rule)
            telling = datasets.telling(known)
            for problem in telling:
                log.warning("%s: %s", data.name, problem)
            self._warnings[key] = [str(problem) for problem in telling]
            self._loaded[key] = datasets.with_validation(data) if own else data
        return self._loaded[key]

    def warnings(self, source: Source) -> list[str]:
        """Return which facts predict labels of a data set before anything is planted."""
        self.data(source)
        return self._warnings[_read(source)]

    def planted(self, name: str) -> Dataset:
        """Return the planted data set of the training ("train") or of a test."""
        return datasets.load(self.folders["plant"] / name)

    @property
    def trained_on(self) -> Dataset:
        """What the retraining learns from."""
        return self.planted("train") if self.spec.plant else self.data(self.spec.train)

    def tested_on(self) -> dict[str, tuple[Dataset, str | None, str]]:
        """Return the test sets: data, split, where."""
        tests: dict[str, tuple[Dataset, str | None, str]] = {}
        for name, source in self.spec.tests.items():
            own = self.planted_name(name, source)
            data = self.planted(own) if own else self.data(source)
            tests[name] = (data, source.split, source.where)
        return tests

    def planted_name(self, name: str, source: Source) -> str | None:
        """Return which planted set a test is of: the training's own splits where it shares them."""
        if not (self.spec.plant and source.plant):
            return None
        return "train" if _same(source, self.spec.train) else name

    @property
    def hosting(self) -> dict[str, Source]:
        """Sources that findings are planted in: the training's and those of tests with own sets."""
        tests = self.spec.tests.items()
        own = {name: one for name, one in tests if self.planted_name(name, one) == name}
        return {"train": self.spec.train} | own

    @property
    def audited_on(self) -> Source:
        """Whose radiographs without finding are edited in audits and in the validation."""
        options = self.spec.audit.source if self.spec.audit else None
        inside = [s for s in self.spec.tests.values() if s.where == "internal"]
        return options or (inside or list(self.spec.tests.values()))[0]

    @property
    def audited_split(self) -> str | None:
        """The split of `audited_on` that is edited, where any is; None: all, not split yet.

        Raises:
            StudyError: there is no such split, or what audits would edit is trained on.
        """
        source, audit = self.audited_on, self.spec.audit
        data = self.data(source)
        split = split_of(source) or (split_name(audit.split) if audit and audit.split else None)
        known = sorted(set(data.table["split"]) - {""})
        if not known or not (audit or self.spec.validation):
            return None
        train = self.spec.train
        own = split_of(train) if self.spec.plant else None
        same = (source.source, source.images) == (train.source, train.images)
        learned = audit is not None and same and split in (None, own or "train")
        if learned or (split is not None and split not in known):
            raise StudyError(
                f"Audits edit a split that is not trained on; the splits of {data.name} are "
                f"{', '.join(known)}, got '{split or 'all'}'. Choose one of the others."
            )
        return split

    def baselines(self, count: int) -> tuple[Dataset, pd.DataFrame]:
        """Return radiographs without finding to audit with; nothing was ever planted in them."""
        source, split = self.audited_on, self.audited_split
        data = self.data(source)
        return data, datasets.baselines(data, count=count, split=split, view=source.view).table

    @cached_property
    def editor(self) -> RadiographEditor:
        """The study's editor."""
        choice = self.spec.editor.part(EditorChoice).but(trust=self.trust)
        return Editor.load(choice.editor, device=self.spec.device, **choice.loading())

    @cached_property
    def unseen(self) -> RadiographEditor | None:
        """The editor that audits what it did not teach."""
        name = self.spec.audit.unseen if self.spec.audit else None
        return Editor.load(name, device=self.spec.device, allow_pickle=self.trust) if name else None

    @cached_property
    def planter(self) -> RadiographEditor:
        """The editor that plants findings."""
        assert self.spec.plant is not None
        place, trust = self.spec.device, self.trust
        return Editor.load(self.spec.plant.editor, device=place, allow_pickle=trust)

    @cached_property
    def corrector(self) -> RadiographEditor:
        """The editor that makes the training set."""
        other = self.spec.augment.editor if self.spec.augment else None
        if not other:
            return self.editor
        return Editor.load(other, device=self.spec.device, allow_pickle=self.trust)

    @cached_property
    def rates(self) -> CoOccurrence | None:
        """Where soft labels come from; None is the matrix that the package brings."""
        place = self.spec.augment.matrix if self.spec.augment else None
        return augment.load_cooccurrence(place) if place else None

    @cached_property
    def audited(self) -> dict[str, Classifier]:
        """The classifiers that are audited as they are."""
        audit = self.spec.audit
        if audit is None:
            return {}
        words: dict[str, Any] = {"device": self.spec.device, "trust": self.trust}
        words |= audit.part(Foreign).model_dump()
        return {name: classifiers.load(form, **words) for name, form in audit.classifiers.items()}


def split_of(source: Source) -> str | None:
    """Return the split of a source as tables spell it; None for all."""
    return None if source.split is None else split_name(source.split)


def _read(source: Source) -> tuple[Any, ...]:
    """Return what decides how a source is read."""
    screens = source.refuse_burned_in, source.mask_burned_in
    return source.source, source.images, source.ages, source.keep_ids, *screens


def _same(one: Source, other: Source) -> bool:
    return (one.source, one.images, one.view) == (other.source, other.images, other.view)
