"""Networks that trainings start from: one that the user has, or a new one (`networks`).

Of a network that the user has, the heads of the findings that it shares with the plan keep their
weights; heads of other findings are new. Heads are rows of the last layer, and that this is so is
tried: what the kept heads answer must not change.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from roentmod.classifiers import huggingface, programs, xrv
from roentmod.classifiers.card import Card, make_card, sidecar
from roentmod.classifiers.heads import Head, map_heads
from roentmod.errors import ClassifierError, RetrainError
from roentmod.learning import networks
from roentmod.learning.networks import Prepared, build, check_trust, factory_of
from roentmod.plans.retrain import RetrainPlan
from roentmod.store import file_sha256

__all__ = [
    "FORMS",
    "Start",
    "begun",
    "check",
    "check_size",
    "described",
    "last_layer",
    "opened",
    "size_of",
]

FORMS = (
    "a .pt file of roentmod retrain with its card",
    "the .onnx file beside one",
    "a folder with one such file",
    "hf:FOLDER",
    "xrv:NAME or xrv:FILE",
    "python:package.module:function",
    "python:FILE.py:function",
)
_BUNDLED = ("small", "densenet121")
# Largest change of a kept head's answers, in logits and as a share of them.
_ALIKE = 1e-4


@dataclass(frozen=True, eq=False)
class Start:
    """A network as its user has it.

    Attributes:
        network: display values in, n x 1 x size x size; logits out, n x m.
        name: what it is called, without the folder that it is in.
        heads: the m outputs in order; none where they have no names.
        size: side in pixels of its pictures; None: any.
        files: SHA-256 of the files that it was read from, by name.
    """

    network: nn.Module
    name: str
    heads: tuple[Head, ...] = ()
    size: int | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[str, ...]:
        """What its named heads read, in their order."""
        return tuple(str(head.finding) for head in self.heads if head.state == "read")

    def row(self, finding: str) -> int | None:
        """Return which output reads a finding; None where none does."""
        states = [(head.finding, head.state) for head in self.heads]
        return states.index((finding, "read")) if (finding, "read") in states else None


def begun(plan: RetrainPlan, seed: int) -> nn.Module:
    """Return a training's network before its first step.

    Args:
        plan: network, heads, size, and which layers learn: the others have no gradients.
        seed: of new weights; the caller's random numbers stay as they were.

    Raises:
        RoentModError: as `build` and `opened`; or pictures of another size than it takes.
    """
    if plan.start is None:
        network = build(plan.model, len(plan.findings), seed, plan.size)
    else:
        start = _fitting(plan)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _with_heads(start, plan.findings, plan.size)
    if plan.layers == "last":
        network.requires_grad_(False)
        network.get_submodule(last_layer(network, plan.size)).requires_grad_(True)
    return network.train()


def check(plan: RetrainPlan, trust: bool) -> None:
    """Refuse what no training can begin with, before anything else is done.

    Raises:
        RoentModError: a program that is not trusted, or a network that cannot be started from.
    """
    check_trust(plan.model, trust)
    if plan.start is not None:
        _with_heads(_fitting(plan, trust=trust), plan.findings, plan.size)


def described(plan: RetrainPlan) -> dict[str, Any]:
    """Return what provenance records of a plan's network: its form, hashes, and heads kept."""
    if plan.start is None:
        return networks.described(plan.model)
    start = _fitting(plan)
    kept = [name for name in plan.findings if start.row(name) is not None]
    new = [name for name in plan.findings if name not in kept]
    return {
        "model": start.name,
        "sha256": start.files,
        "heads": {"kept": kept, "new": new},
        "layers": plan.layers,
    }


def size_of(spec: str, model: str | None = None, *, trust: bool = False) -> int | None:
    """Return the side in pixels that a network takes, None for any; arguments as `opened`."""
    return opened(spec, model or _BUNDLED[0], trust=trust).size


def _fitting(plan: RetrainPlan, *, trust: bool = True) -> Start:
    """Return the network that a plan starts from; it was trusted where the run began."""
    start = opened(str(plan.start), plan.model, trust=trust)
    check_size(start, plan.size)
    return start


def check_size(start: Start, size: int) -> None:
    """Refuse pictures of another size than a network takes.

    Raises:
        RetrainError: it states another.
    """
    if start.size not in (None, size):
        raise RetrainError(
            f"A network takes pictures of its size; {start.name} takes {start.size} px, and size "
            f"is {size}. Give --size {start.size}, or leave it out."
        )


def opened(spec: str, model: str = _BUNDLED[0], *, trust: bool = False) -> Start:
    """Return the network that a user has.

    Args:
        spec: one of `FORMS`. A ``python:`` function is called without arguments, and returns a
            module. Its card, an attribute ``card`` of either, declares labels and input as those of
            classifiers do; ``pathologies`` stand for labels. Undeclared, its pictures are display
            values in one channel.
        model: the network whose weights a .pt file holds, where it is none of the bundled ones.
        trust: whether programs and pickles may be loaded.

    Raises:
        RetrainError: no such form, or what cannot be trained.
        WeightsError: nothing can be loaded from there, or it is not trusted.
        ClassifierError: its card is missing or wrong.
    """
    kind, _, rest = spec.partition(":")
    if kind == "hf" and rest:
        return _hugging_face(rest, trust)
    if kind in ("xrv", "torchxrayvision") and rest:
        return _xrv(rest, trust)
    if kind == "python" and rest:
        return _python(rest, trust)
    return _weights(_file(Path(spec).expanduser(), spec), model, trust)


def _file(path: Path, spec: str) -> Path:
    """Return the file of weights that a path means."""
    if path.is_dir():
        files = sorted(path.glob("*.pt")) or sorted((path / "models").glob("*.pt"))
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise RetrainError(
                f"A folder to start from has one .pt file, in it or in its 'models'; {path.name} "
                f"has {names}. Name the file; a folder of Hugging Face's is hf:FOLDER."
            )
        return files[0]
    suffix = path.suffix.lower()
    if suffix == ".onnx" or spec.startswith("demo:"):
        beside = path.with_suffix(".pt")
        if not beside.is_file():
            raise RetrainError(
                f"ONNX files cannot be trained; {path.name} has no {beside.name} beside it. Give "
                f"what it was exported from: {'; '.join((FORMS[0], *FORMS[3:]))}."
            )
        return beside
    if suffix not in (".pt", ".pth"):
        raise RetrainError(f"A network to start from is {'; '.join(FORMS)}. Got '{path.name}'.")
    if not path.is_file():
        raise RetrainError(f"A file to start from must exist; {path} does not. Correct the path.")
    return path


def _weights(path: Path, model: str, trust: bool) -> Start:
    """Return the network whose weights a file of roentmod retrain holds."""
    graph = path.with_suffix(".onnx")
    words = {"name": path.stem} | (sidecar(graph) or sidecar(path))
    card = make_card(words, where=f"{graph.name}.json beside {path.name}")
    state = _state(path)
    tried = _BUNDLED if model in _BUNDLED else (model,)
    for form in tried:
        network = _architecture(form, len(card.labels), card.size, trust)
        try:
            network.load_state_dict(state)
        except RuntimeError:
            continue
        plain = card.range == (0, 1) and card.channels == 1 and not card.mean
        network = network if plain else Prepared(network, card.model_dump())
        return _named(network, path.name, card, {path.name: file_sha256(path)})
    raise RetrainError(
        f"Weights must fit their network; those of {path.name} do not fit {' or '.join(tried)} "
        f"with {len(card.labels)} heads. Give the network that was trained, as --model hf:FOLDER, "
        "xrv:NAME or python:FILE.py:function, and the card that was written with it."
    )


def _state(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, Mapping) and all(isinstance(one, Tensor) for one in state.values()):
            return dict(state)
        what = f"it holds {type(state).__name__}"
    # Archives of any kind end in errors of any kind.
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        what = f"reading it gave {type(error).__name__}"
    raise RetrainError(
        f"A .pt file to start from holds weights alone, a state dict; {path.name} does not "
        f"({what}). Programs and pickled models are started from as python:FILE.py:function."
    )


def _architecture(form: str, heads: int, size: int, trust: bool) -> nn.Module:
    """Return a network of a form with so many new heads; bundled ones are of any size."""
    if form == "densenet121":
        # It needs 32 pixels; the size is tried once it has its weights.
        return build(form, heads, 0, max(size, 32))
    check_trust(form, trust)
    if form in _BUNDLED or (form.startswith("python:") and _takes_heads(form)):
        return build(form, heads, 0, size)
    return _with_heads(opened(form, trust=trust), [""] * heads, size)


def _takes_heads(form: str) -> bool:
    return "heads" in inspect.signature(factory_of(form.partition(":")[2])).parameters


def _hugging_face(rest: str, trust: bool) -> Start:
    folder = Path(rest).expanduser()
    networks.check_folder(folder)
    words = {"name": folder.name} | sidecar(folder)
    model, card = huggingface.opened(str(folder), words, trust=trust)
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    files = {file.name: file_sha256(file) for file in weights}
    return _named(Prepared(model, card.model_dump()), f"hf:{folder.resolve().name}", card, files)


def _xrv(rest: str, trust: bool) -> Start:
    model, card, untrained, digest = xrv.opened(rest, trust=trust)
    name = Path(rest).name
    files = {name: digest} if digest else {}
    return _named(Prepared(model, card.model_dump()), f"xrv:{name}", card, files, untrained)


def _python(rest: str, trust: bool) -> Start:
    check_trust(f"python:{rest}", trust)
    place, _, attribute = rest.rpartition(":")
    path = Path(place).expanduser()
    name = f"python:{path.name}:{attribute}"
    factory = factory_of(rest)
    try:
        network = factory()
    # Foreign code raises anything.
    except Exception as error:
        raise RetrainError(
            "A python: network to start from is returned by a function without arguments; "
            f"'{name}' raised {type(error).__name__}: {' '.join(str(error).split())[:200]}. "
            "Correct it."
        ) from error
    if not isinstance(network, nn.Module):
        raise RetrainError(
            f"A network is a torch.nn.Module; '{name}' gave {type(network).__name__}. Return one."
        )
    words = dict(getattr(network, "card", None) or getattr(factory, "card", None) or {})
    names = words.pop("labels", None) or getattr(network, "pathologies", None)
    size, usual = words.get("size"), {"range": (0, 1), "outputs": "logits", "size": 8}
    labels = [str(one or "") for one in names] if names is not None else [""]
    declared = usual | words | {"labels": labels}
    card = make_card(declared, where=f"the attribute 'card' of {name}")
    own = path.suffix == ".py"
    files = {path.name: file_sha256(path)} if own else programs.python_origin(rest).hashes
    start = _named(Prepared(network, card.model_dump()), name, card, files)
    heads = start.heads if names is not None else ()
    return Start(start.network, name, heads, size, files)


def _named(
    network: nn.Module,
    name: str,
    card: Card,
    files: dict[str, str],
    untrained: Sequence[int] = (),
) -> Start:
    """Return a network with the heads that its card names.

    Raises:
        RetrainError: its answers are no logits of each head by itself.
        ClassifierError: its card maps heads that are not there.
    """
    if card.outputs != "logits" or card.activation != "sigmoid":
        what = "probabilities" if card.outputs != "logits" else "a softmax over its labels"
        raise RetrainError(
            f"A network to start from gives a logit per finding, each by itself; {name} gives "
            f"{what}. Return the logits, or train new heads: --model hf:FOLDER."
        )
    try:
        heads = map_heads(card.labels, card.mapping, untrained=untrained)
    except ClassifierError:
        if card.mapping:
            raise
        # It reads no finding of the catalogue: all heads of the plan are new.
        heads = tuple(Head(label, None, "unmapped") for label in card.labels)
    return Start(network, name, heads, card.size, files)


def _with_heads(start: Start, findings: Sequence[str], size: int) -> nn.Module:
    """Return a start's network with heads of `findings`, those that it has kept.

    Raises:
        RetrainError: its heads are no rows of its last layer, or as many as are named.
    """
    network = start.network
    pictures = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    name = last_layer(network, size, start.name)
    old = network.get_submodule(name)
    before = _answers(network, pictures, start.name)
    if start.heads and len(start.heads) != before.shape[1]:
        raise RetrainError(
            f"Each head has one label; {start.name} answers {before.shape[1]} logits, and names "
            f"{len(start.heads)}. Correct its labels."
        )
    new = _layer_like(old, len(findings))
    kept = {at: row for at, one in enumerate(findings) if (row := start.row(one)) is not None}
    with torch.no_grad():
        for own, other in zip(new.parameters(), old.parameters(), strict=True):
            for at, row in kept.items():
                own[at] = other[row]
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, new)
    after = _answers(network, pictures, start.name)
    same = before[:, list(kept.values())]
    close = torch.allclose(after[:, list(kept)], same, _ALIKE, _ALIKE)
    if after.shape != (2, len(findings)) or not close:
        raise RetrainError(
            f"Heads are rows of a network's last layer; those of {start.name} are not, as its "
            "answers changed when they were chosen from it. Train new heads: --model."
        )
    return network


def _layer_like(old: nn.Module, heads: int) -> nn.Linear | nn.Conv2d:
    """Return a new layer of the same kind with so many outputs."""
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, heads, old.bias is not None)
    assert isinstance(old, nn.Conv2d)
    return nn.Conv2d(
        old.in_channels,
        heads,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )


def last_layer(network: nn.Module, size: int, name: str = "the network") -> str:
    """Return the name of the layer that gives a network's logits.

    Raises:
        RetrainError: it ends in none.
    """
    called: list[tuple[str, int]] = []
    hooks = [
        module.register_forward_hook(
            lambda module, _, answer, own=own: called.append((own, answer.shape[1]))
        )
        for own, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    try:
        width = _answers(network, torch.zeros(2, 1, size, size), name).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    if not called or called[-1][1] != width:
        raise RetrainError(
            f"A network ends in a layer with one output per head, linear or convolutional; "
            f"{name} ends otherwise. Train new heads: --model."
        )
    return called[-1][0]


def _answers(network: nn.Module, pictures: Tensor, name: str) -> Tensor:
    """Return the logits of pictures, n x m, in evaluation mode.

    Raises:
        RetrainError: it does not take them, or answers something else.
    """
    try:
        with torch.no_grad():
            answer = network.eval()(pictures)
    # Foreign code raises anything.
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise RetrainError(
            f"A network takes n x {' x '.join(map(str, pictures.shape[1:]))}; {name} raised "
            f"{type(error).__name__}: {text}. Give the size it takes."
        ) from error
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != len(pictures):
        shape = tuple(getattr(answer, "shape", ())) or type(answer).__name__
        raise RetrainError(
            f"A network answers n x k logits; {name} gave {shape} for {len(pictures)} pictures. "
            "Return one logit per head."
        )
    return answer.float()
