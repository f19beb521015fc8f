"""`load`: any classifier, by one line of text."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from roentmod.classifiers.adapter import Adapter, Described, Forward, Origin
from roentmod.classifiers.card import Card, make_card, sidecar
from roentmod.classifiers.heads import Labels
from roentmod.classifiers.judge import Judge
from roentmod.errors import ClassifierError
from roentmod.interfaces import Classifier, anchored

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from roentmod.classifiers.probe import Embedder

log = logging.getLogger(__name__)
__all__ = ["DEMO", "FORMS", "Options", "load"]

# Two bundled classifiers: one that learned a shortcut, and one without (`training/confounded.py`).
DEMO = {name: Path(__file__).parent / "demo" / f"{name}.onnx" for name in ("honest", "shortcut")}
FORMS = (
    "judge or judge:FOLDER",
    "demo:honest or demo:shortcut",
    "xrv:NAME or xrv:FILE",
    "hf:FOLDER or hf:HUB_ID",
    "clip:FOLDER or clip:HUB_ID",
    "onnx:FILE or *.onnx",
    "torchscript:FILE or *.pt, *.pth",
    "export:FILE or *.pt2",
    "python:package.module:function",
    "http://... or https://...",
    "probe:FOLDER",
    "an entry point of the group roentmod.classifiers",
)
GROUP = "roentmod.classifiers"
_SUFFIX = {".onnx": "onnx", ".pt": "torchscript", ".pth": "torchscript", ".pt2": "export"}


class Options(TypedDict, total=False):
    """Further arguments of `load`; None is the same as not given.

    The first eight stand for words of a card (see `roentmod.classifiers.card`). `trust` lets
    programs be loaded, which can run any code; `allow_pickle` is its older name.
    """

    channels: int | None
    mean: Sequence[float] | float | None
    std: Sequence[float] | float | None
    outputs: str | None
    activation: str | None
    check_outputs: bool | None
    name: str | None
    output: str | None
    batch_size: int | None
    device: str | None
    revision: str | None
    prompts: Mapping[str, tuple[str, str]] | None
    trust: bool | None
    allow_pickle: bool | None
    embedder: Embedder | None
    timeout: float | None
    retries: int | None
    backoff: float | None
    concurrency: int | None
    headers: Mapping[str, str] | None


_CARD = {"channels", "mean", "std", "outputs", "activation", "check_outputs", "name", "output"}
_TORCH = {"batch_size", "device"}
_ALLOWED: dict[str, set[str]] = {
    "judge": set(),
    "xrv": {"name"} | _TORCH,
    "hf": _CARD - {"outputs", "output"} | {"revision"} | _TORCH,
    "clip": {"name", "channels", "mean", "std", "prompts", "revision"} | _TORCH,
    "onnx": _CARD | {"batch_size"},
    "torchscript": _CARD | _TORCH,
    "export": _CARD | _TORCH,
    "python": _CARD | {"batch_size"},
    "http": {"activation", "check_outputs", "name", "batch_size"}
    | {"timeout", "retries", "backoff", "concurrency", "headers"},
    "probe": {"embedder"},
    "entry point": set(),
}


def load(
    spec: str | Path,
    *,
    labels: Labels | Sequence[str] | str | Path | None = None,
    size: int | None = None,
    input_range: tuple[float, float] | None = None,
    **options: Unpack[Options],
) -> Described:
    """Return the classifier that `spec` means; see `FORMS`.

    Args:
        spec: one of the forms. An entry point's name comes before all others.
        labels: head -> finding of the catalogue (None leaves the head out), over and above the
            aliases; or a list: the names of the heads in the order of the outputs (for ``clip:``,
            those with prompts). A path is a JSON file of either.
        size: side in pixels of the square pictures it takes, where the model does not say.
        input_range: what display values 0 and 1 become, where neither sidecar nor kind says.
        options: see `Options`; a form that does not take one names those it takes.

    Raises:
        ClassifierError: no such form, or something that is not or wrongly declared.
        WeightsError: files that are missing or damaged, or a program without `trust`.
        MissingDependencyError: a library that the form needs is not installed.
    """
    kind, rest = _kind(str(spec))
    given = {key: value for key, value in options.items() if value is not None}
    # All forms take it, so that one word does for models of several.
    trust = any([given.pop("trust", False), given.pop("allow_pickle", False)])
    if "device" in given and "device" not in _ALLOWED[kind]:
        # Runtimes, servers and functions choose where they run.
        device = given.pop("device")
        if device != "cpu":
            log.warning("%s: device '%s' is ignored", kind, device)
    strange = sorted(set(given) - _ALLOWED[kind])
    if strange:
        may = ", ".join(sorted(_ALLOWED[kind])) or "none"
        raise ClassifierError(
            f"The options of a classifier of the form '{kind}' are {may}; got {', '.join(strange)}."
        )
    names, mapping = _labels(labels)
    declared = {key: given.pop(key) for key in _CARD & set(given)}
    declared |= {"labels": names, "size": size, "range": input_range}
    declared = {key: value for key, value in declared.items() if value is not None}
    made = _BUILD[kind](_Order(rest, declared, mapping, dict(given), trust))
    if isinstance(made, Adapter):
        form, colon, place = str(spec).partition(":")
        again = f"{form}:{anchored(place)}" if colon else anchored(spec)
        made.remember(
            load,
            again,
            labels=names or mapping,
            size=size,
            input_range=input_range,
            **{key: value for key, value in options.items() if value is not None},
        )
    return made


def _kind(spec: str) -> tuple[str, str]:
    """Return form and rest of a spec."""
    if any(point.name == spec for point in entry_points(group=GROUP)):
        return "entry point", spec
    if spec == "judge":
        return "judge", ""
    head, _, rest = spec.partition(":")
    if head == "demo" and rest in DEMO:
        return "onnx", str(DEMO[rest])
    if head in ("http", "https"):
        return "http", spec
    if head in _BUILD and rest:
        return head, rest
    suffix = Path(spec).suffix.lower()
    if suffix in _SUFFIX:
        return _SUFFIX[suffix], spec
    # An address, mistyped, may hold a password.
    shown = re.sub(r"://.*", "://...", spec, flags=re.S)
    raise ClassifierError(f"A classifier is one of: {'; '.join(FORMS)}. Got '{shown}'.")


def _labels(
    labels: Labels | Sequence[str] | str | Path | None,
) -> tuple[list[str] | None, Labels | None]:
    """Return names of heads and head -> finding; at most one of them is given."""
    content: Any = labels
    if isinstance(labels, str | Path):
        try:
            content = json.loads(Path(labels).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ClassifierError(
                f"A labels file is JSON; reading {Path(labels).name} gave: {error}. Correct it."
            ) from error
    if content is None:
        return None, None
    if isinstance(content, Mapping):
        wrong = [value for value in content.values() if not isinstance(value, str | None)]
        if wrong:
            raise ClassifierError(
                f"Labels map heads to names of findings, or to null; got {wrong[0]!r}. Correct it."
            )
        return None, {str(key): value for key, value in content.items()}
    if isinstance(content, Sequence) and all(isinstance(name, str) for name in content):
        return list(content), None
    raise ClassifierError(
        "Labels must be a list of heads, or a mapping from heads to findings; got "
        f"{type(content).__name__}."
    )


@dataclass
class _Order:
    """Arguments of `load`, sorted.

    Attributes:
        rest: the spec without its form.
        declared: words of a card.
        labels: head -> finding.
        options: the form's others.
        trust: whether programs may be loaded.
    """

    rest: str
    declared: dict[str, Any]
    labels: Labels | None
    options: dict[str, Any]
    trust: bool

    @property
    def path(self) -> Path:
        return Path(self.rest).expanduser()

    @property
    def where(self) -> str:
        """The place of a file's card, for messages."""
        return f"{self.path.name}.json beside the file"

    def words(self) -> dict[str, Any]:
        """Return sidecar and options together; options come first."""
        plain = {"name": self.path.stem, "check_outputs": True}
        return plain | sidecar(self.path) | self.declared

    def adapter(self, card: Card, forward: Forward, origin: Origin, **options: Any) -> Adapter:
        return Adapter(card, forward, origin, labels=self.labels, **(options or self.options))

    def of_file(
        self, card: Card, forward: Forward, kind: str, others: Sequence[Path] = ()
    ) -> Adapter:
        return self.adapter(card, forward, Origin.of_file(kind, self.path, others))

    def nothing_declared(self, kind: str, *, labels: bool = False) -> None:
        """Refuse words of a card; and labels, unless they may be given."""
        words = [*self.declared, *(["labels"] if self.labels and not labels else [])]
        if words:
            raise ClassifierError(
                f"The form '{kind}' says for itself what it is; got {', '.join(words)}."
            )


def _judge(order: _Order) -> Described:
    order.nothing_declared("judge")
    return Judge.load(order.path if order.rest else None)


def _entry_point(order: _Order) -> Described:
    order.nothing_declared("entry point", labels=True)
    name = order.rest
    point = next(p for p in entry_points(group=GROUP) if p.name == name)
    inner = cast(Classifier, point.load()())
    words = {"labels": list(inner.findings), "size": inner.size, "name": name}
    card = make_card(words | {"range": (0, 1), "outputs": "logits"}, where=point.value)
    facts = {"entry_point": point.value}
    describe = getattr(inner, "describe", None)
    if callable(describe):
        facts["inner"] = describe()
    origin = Origin("entry point", name, None, facts)
    return order.adapter(card, lambda batch: inner.logits(batch[:, 0]), origin, batch_size=None)


def _xrv(order: _Order) -> Described:
    from roentmod.classifiers import xrv

    words: dict[str, Any] = {"labels": order.labels, "trust": order.trust, **order.options}
    return xrv.load(order.rest, order.declared, **words)


def _huggingface(kind: Literal["image_classifier", "clip"]) -> Build:
    def build(order: _Order) -> Described:
        from roentmod.classifiers import huggingface

        last = order.rest.rstrip("/").rpartition("/")[2] or order.rest
        beside = sidecar(order.path) if order.path.is_dir() else {}
        words = {"name": last} | beside | order.declared
        opener = getattr(huggingface, kind)
        options = {"labels": order.labels, "trust": order.trust, **order.options}
        return cast(Described, opener(order.rest, words, **options))

    return build


def _onnx(order: _Order) -> Described:
    from roentmod.classifiers.graphs import Graph

    words = order.words()
    graph = Graph(order.path, output=words.get("output"))
    name = order.path.name
    for word in ("size", "channels"):
        fixed = getattr(graph, word)
        if fixed is not None and words.setdefault(word, fixed) != fixed:
            raise ClassifierError(
                f"The card of {name} must agree with the graph, {word} {fixed}; got {word} "
                f"{words[word]}. Correct the sidecar or the option."
            )
    card = make_card(words, where=order.where)
    if graph.width not in (None, len(card.labels)):
        raise ClassifierError(
            f"Each head has one label; {name} has {graph.width} heads and {len(card.labels)} "
            "labels. Correct the sidecar or the option."
        )
    return order.of_file(card, graph, "onnx", graph.tensor_files)


def _program(kind: Literal["torchscript", "export"]) -> Build:
    def build(order: _Order) -> Described:
        from roentmod.classifiers import programs

        opener = programs.torchscript if kind == "torchscript" else programs.exported
        words = order.words()
        device = order.options.pop("device", "cpu")
        output = words.get("output")
        forward = opener(order.path, device=device, output=output, trust=order.trust)
        return order.of_file(make_card(words, where=order.where), forward, kind)

    return build


def _python(order: _Order) -> Described:
    from roentmod.classifiers.programs import function, need_trust, pick, python_origin

    name = order.rest
    need_trust(f"python:{name}", order.trust, "importing a module runs it.")
    call = function(name)
    words = {"name": name, "check_outputs": True, **getattr(call, "card", {}), **order.declared}
    card = make_card(words, where=f"the attribute 'card' of {name}")
    origin = python_origin(name)
    return order.adapter(card, lambda batch: pick(call(batch), card.output), origin)


def _http(order: _Order) -> Described:
    from roentmod.classifiers.remote import Endpoint

    endpoint, given = Endpoint(order.rest, **order.options), order.declared
    words = endpoint.describe(given.get("size"))
    if given.get("size") not in (None, words["size"]):
        raise ClassifierError(
            f"The size must agree with the endpoint, size {words['size']}; got size "
            f"{given['size']}. Leave it out."
        )
    if "labels" in given or tuple(given.get("range", (0, 1))) != (0, 1):
        raise ClassifierError(
            "An endpoint states its labels and takes [0, 1]; got others. Leave them out, or map "
            "heads to findings."
        )
    words = {"name": endpoint.address, "check_outputs": True, **words, **given, "range": (0, 1)}
    card = make_card(words, where=f"{endpoint.address}/describe")
    forward = endpoint.forward(card.labels, card.outputs)
    return order.adapter(card, forward, Origin("http", endpoint.address), batch_size=None)


def _probe(order: _Order) -> Described:
    from roentmod.classifiers.probe import load_probe

    order.nothing_declared("probe", labels=True)
    return load_probe(order.path, labels=order.labels, trust=order.trust, **order.options)


Build = Callable[[_Order], Described]
_BUILD: dict[str, Build] = {
    "judge": _judge,
    "entry point": _entry_point,
    "xrv": _xrv,
    "hf": _huggingface("image_classifier"),
    "clip": _huggingface("clip"),
    "onnx": _onnx,
    "torchscript": _program("torchscript"),
    "export": _program("export"),
    "python": _python,
    "http": _http,
    "probe": _probe,
}
