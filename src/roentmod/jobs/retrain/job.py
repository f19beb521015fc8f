"""The parts of a retraining: blocks of pictures, then one training per arm and seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod.errors import RetrainError
from roentmod.jobs.retrain.registration import Sets
from roentmod.jobs.retrain.result import RECORD, REGISTERED, TABLE, RetrainResult, load
from roentmod.learning import devices
from roentmod.learning.export import export, weights_in
from roentmod.learning.material import Material
from roentmod.learning.pictures import BLOCK, Pictures, make_block, open_blocks
from roentmod.learning.refit import refitted
from roentmod.learning.samples import Floats, Samples
from roentmod.learning.starts import begun
from roentmod.learning.trainer import answer
from roentmod.learning.training import checkpoint, metrics, train
from roentmod.plans.retrain import BASE, BEFORE, LATER_ARMS, RetrainPlan
from roentmod.plans.retrain import Task as Training
from roentmod.runs import Done, Job, Made, Part, Stage, Task
from roentmod.science.performance import PREDICTIONS, STRATUM
from roentmod.store import atomic, canonical_hash, write_json

__all__ = ["RetrainJob"]

# Why each picture of each set that is black could not be read.
Unread = Mapping[str, Mapping[str, str]]


@dataclass(eq=False)
class RetrainJob(Job[RetrainResult]):
    """Trainings of a plan, each reading all test sets at its end.

    Attributes:
        plan: what is trained.
        sets: on what.
        registered: what is written down before.
        trainings: those to do now.
        device: of torch.
        tensorboard: also write ``tensorboard/``.
        warnings: what the result says of the data.
    """

    plan: RetrainPlan
    sets: Sets
    registered: Mapping[str, Any]
    trainings: list[Training]
    device: str = "cpu"
    tensorboard: bool = False
    warnings: tuple[str, ...] = ()
    _state: dict[str, Any] = field(default_factory=dict, repr=False)
    kind = "retrain"
    article = "a retraining"
    record = REGISTERED
    libraries = ("numpy", "pandas", "torch", "monai", "kornia", "accelerate", "onnx", "onnxruntime")

    def __post_init__(self) -> None:
        """Find out which of several processes this one is."""
        self.rank = int(self._accelerator().process_index)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process opens for itself."""
        return self.__dict__ | {"_state": {}}

    def meet(self) -> None:
        """Wait for the processes that share a batch."""
        self._accelerator().wait_for_everyone()

    def identity(self) -> Mapping[str, Any]:
        """Return what is registered."""
        return self.registered

    def begin(self, done: Done) -> None:
        """Keep what tells which pictures could not be read."""
        self._state["done"] = done

    def stages(self) -> Iterator[Stage]:
        """Yield a stage of pictures per set, then the trainings."""
        for samples in self.sets.all():
            yield Stage.of(f"pictures of {samples.name}", self._blocks(samples))
        unread = self._unread()
        for samples in self.sets.all():
            open_blocks(samples, [], unread[samples.name])
        first = {Training(BASE, t.seed): None for t in self.trainings if t.arm in LATER_ARMS}
        first |= {t: None for t in self.trainings if t.arm not in LATER_ARMS}
        # Where another call trains a needed erm, this one waits for it.
        parts = [self._part(t, unread) for t in self.plan.tasks if t in first]
        yield Stage("training", len(parts), lambda: parts, together=True)
        ready = {part.inputs[0].seed for part in parts if self._made(part)}
        late = [t for t in self.trainings if t.arm in LATER_ARMS and t.seed in ready]
        rest = [self._part(t, unread) for t in late]
        if rest:
            yield Stage("training after erm", len(rest), lambda: rest, together=True)

    def _made(self, part: Part) -> bool:
        """Whether the erm of a part is there: a shard may lack it, and a later call goes on."""
        made = self._state["done"].get(part)
        return part.inputs[0].arm == BASE and made is not None and not made.items

    def _blocks(self, samples: Samples) -> list[Part]:
        names = [str(name) for name in samples.table["image_id"]]
        parts = []
        for number, start in enumerate(range(0, len(names), BLOCK)):
            some = names[start : start + BLOCK]
            key = canonical_hash([samples.name, self.plan.size, self.plan.through, some])
            parts.append(Part(key, (samples.name, number, some)))
        return parts

    def _unread(self) -> dict[str, dict[str, str]]:
        done: Done = self._state["done"]
        unread: dict[str, dict[str, str]] = {}
        for samples in self.sets.all():
            own = unread.setdefault(samples.name, {})
            for part in self._blocks(samples):
                made = done.get(part)
                own |= {} if made is None else made.facts["unread"]
        return unread

    def _part(self, training: Training, unread: Unread) -> Part:
        """Return a training's part; it is made again when a picture can be read at last."""
        missing = {name: list(some) for name, some in unread.items()}
        key = canonical_hash([training.name, self.registered, missing])
        title = f"training {training.arm}, seed {training.seed}"
        return Part(key, (training, unread), title)

    def make(self, task: Task) -> Made:
        """Make a block of pictures, or train.

        Raises:
            RetrainError: a network that answers no finite numbers.
        """
        if isinstance(task.part.inputs[0], Training):
            return self._train(task)
        name, number, names = task.part.inputs
        samples = next(one for one in self.sets.all() if one.name == name)
        block, unread = make_block(samples, names, self.plan.size, self.plan.through)
        made = Made(facts={"unread": {image_id: str(why) for image_id, why in unread.items()}})
        for image_id, why in unread.items():
            made.missing(why.status, str(why), set=name, image_id=image_id)
        made.files[_block(name, number)] = _packed(block)
        return made

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return the item of a training that failed, or of a block that did."""
        made, (first, *_) = Made(facts={"unread": {}}), part.inputs
        made.missing(status, message, training=first.name if isinstance(first, Training) else first)
        return made

    def _train(self, task: Task) -> Made:
        training, unread = task.part.inputs
        shown = self._pictures(task.folder, unread)
        accelerator = self._accelerator()
        material = self._material(training, task.folder, shown)
        if training.arm == "dfr":
            network = self._network(training, _erm(task.folder, training))
            trained = refitted(training, network, material, self.plan, accelerator.device)
        else:
            trained = train(
                training,
                material,
                self.plan,
                task.folder,
                accelerator,
                tensorboard=self.tensorboard,
                progress=task.progress,
            )
        made = Made(facts={"trained": trained.facts, "machine": devices.facts_of(accelerator)})
        if accelerator.is_main_process:
            network = self._network(training, trained.weights)
            tables = [*self._before(training, shown), self._read(network, shown, training.arm)]
            content = pd.concat(tables, ignore_index=True).assign(seed=training.seed)
            content = content[[*PREDICTIONS, STRATUM]]
            made.files[_readings(training)] = content.to_parquet(index=False)
            made.files[metrics(training)] = trained.lines()
            if trained.early is not None:
                made.files[_early(training.seed)] = _packed(trained.early)
            files = export(network, training.name, self.plan)
            made.files |= {f"models/{name}": content for name, content in files.items()}
        return made

    def _network(self, training: Training, weights: Mapping[str, Any]) -> Any:
        network = begun(self.plan, training.seed)
        network.load_state_dict(weights)
        return network.to(self._accelerator().device)

    def _before(self, training: Training, shown: Mapping[str, Pictures]) -> list[pd.DataFrame]:
        """Return what the network that is started from says, once per seed: the arm `BEFORE`.

        Its new heads say nothing.
        """
        if self.plan.start is None or training.arm != BASE:
            return []
        network = begun(self.plan, training.seed).to(self._accelerator().device)
        table = self._read(network, shown, BEFORE)
        new = table["finding"].isin(self.registered["network"]["heads"]["new"])
        return [table.assign(logit=table["logit"].where(~new, 0.0))]

    def _read(self, network: Any, shown: Mapping[str, Pictures], arm: str) -> pd.DataFrame:
        """Return what a network says of val and all tests, as an arm."""
        sets, device = self.sets, self._accelerator().device
        tests = [(one, sets.where[name]) for name, one in sets.tests.items()]
        tables = [
            _readings_of(one, answer(network, shown[one.name], len(one), device), shown, where)
            for one, where in [(sets.val, "val"), *tests]
        ]
        return pd.concat(tables, ignore_index=True).assign(arm=arm)

    def kept(self, part: Part, folder: Path) -> None:
        """Remove a training's checkpoint: it weighs many times the network."""
        if isinstance(part.inputs[0], Training):
            checkpoint(folder, part.inputs[0]).unlink(missing_ok=True)

    def finish(self, done: Done) -> RetrainResult:
        """Write table and record where all trainings of the plan are done.

        Raises:
            RetrainError: a training failed.
        """
        unread = self._unread()
        parts = {task.name: self._part(task, unread) for task in self.plan.tasks}
        made = {name: done.get(part) for name, part in parts.items()}
        for name, one in made.items():
            if one is not None and one.items:
                raise RetrainError(f"The training {name} failed: {one.items[0]['message']}")
        ready = {name: one for name, one in made.items() if one is not None}
        trainings = {name: one.facts["trained"] for name, one in ready.items()}
        tables = [
            pd.read_parquet(BytesIO(done.content(parts[task.name], _readings(task))))
            for task in self.plan.tasks
            if task.name in ready
        ]
        # Trainings of earlier versions named no sites.
        tables = tables or [pd.DataFrame(columns=list(PREDICTIONS))]
        table = pd.concat(tables, ignore_index=True, join="inner")
        if len(ready) < len(parts):
            return RetrainResult(done.folder, {"trainings": trainings}, table)
        with atomic(done.folder / TABLE) as partial:
            table.to_parquet(partial, index=False)
        record = done.record | {
            "trainings": trainings,
            "unread": {name: some for name, some in unread.items() if some},
            "warnings": list(self.warnings),
            "machine": next(one.facts["machine"] for one in ready.values()),
        }
        write_json(done.folder / RECORD, record)
        return RetrainResult(done.folder, record, table)

    def load(self, folder: Path) -> RetrainResult | None:
        """Return the finished retraining, None where arms are missing."""
        return load(folder) if (folder / RECORD).exists() else None

    def _accelerator(self) -> Any:
        if "accelerator" not in self._state:
            made = devices.accelerator_of(self.device, self.plan.precision)
            self._state["accelerator"] = made
        return self._state["accelerator"]

    def _pictures(self, folder: Path, unread: Unread) -> dict[str, Pictures]:
        if "pictures" not in self._state:
            self._state["pictures"] = {
                one.name: open_blocks(
                    one,
                    [folder / _block(one.name, n) for n in range(len(self._blocks(one)))],
                    unread[one.name],
                )
                for one in self.sets.all()
            }
        pictures: dict[str, Pictures] = self._state["pictures"]
        return pictures

    def _material(
        self, training: Training, folder: Path, shown: Mapping[str, Pictures]
    ) -> Material:
        """Return what a training learns from, also what the erm of its seed says."""
        sets = self.sets
        extra, erm = None, None
        if sets.extra is not None and sets.counterfactuals is not None:
            extra = sets.counterfactuals, shown[sets.extra.name]
        if training.arm == "jtt":
            erm = np.load(folder / _early(training.seed))
        elif training.arm == "teacher" and extra is not None:
            network = self._network(training, _erm(folder, training))
            pictures = extra[1]
            erm = answer(network, pictures, len(pictures.readable), self._accelerator().device)
        train, val = ((one, shown[one.name]) for one in (sets.train, sets.val))
        return Material(train, val, extra, erm)


def _erm(folder: Path, training: Training) -> dict[str, Any]:
    """Return the weights of the erm with the seed of a training."""
    return weights_in(folder / f"models/{Training(BASE, training.seed).name}.pt")


def _early(seed: int) -> str:
    """Return the path of what the early erm says of the training split."""
    return f"early/erm-{seed}.npy"


def _packed(values: Any) -> bytes:
    content = BytesIO()
    np.save(content, values)
    return content.getvalue()


def _block(name: str, number: int) -> str:
    return f"pictures/{name}-{number:05d}.npy"


def _readings(training: Training) -> str:
    return f"readings/{training.name}.parquet"


def _readings_of(
    samples: Samples, logits: Floats, shown: Mapping[str, Pictures], where: str
) -> pd.DataFrame:
    """Return one row per readable picture and finding."""
    readable = shown[samples.name].readable
    logits, known, table = logits[readable], samples.targets[readable], samples.table[readable]
    n, k = logits.shape
    repeated = table.loc[table.index.repeat(k)].reset_index(drop=True)
    return repeated.assign(
        test=samples.name,
        where=where,
        finding=np.tile(np.array(samples.findings, dtype=object), n),
        label=known.ravel().astype(np.float64),
        logit=logits.ravel().astype(np.float64),
    )
