"""`load`: any classifier, by one line of text."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from roentmod.classifiers.adapter import Adapter, Described, Origin
from roentmod.classifiers.card import Card, make_card, sidecar
from roentmod.classifiers.heads import Labels
from roentmod.classifiers.judge import Judge
from roentmod.errors import ClassifierError
from roentmod.interfaces import Classifier, anchored
from roentmod.store import file_sha256

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from roentmod.classifiers.probe import Embedder

log = logging.getLogger(__name__)
__all__ = ["DEMO", "FORMS", "Options", "load"]

# Two bundled classifiers: one that learned a shortcut, and one without (`training/confounded.py`).
DEMO = {name: Path(__file__).parent / "demo" / f"{name}.onnx" for name in ("honest", "shortcut")}
FORMS = (
    "judge",
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
    """What `load` takes besides; None is the same as not given.

    The first eight stand for words of a sidecar (see `roentmod.classifiers.card`).
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
    "xrv": {"name", "allow_pickle"} | _TORCH,
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
            what is asked). A path is a JSON file of either.
        size: side in pixels of the square pictures it takes, where the model does not say.
        input_range: what display values 0 and 1 become, where neither sidecar nor kind says.
        options: see `Options`; which ones a form takes is said when it is given another.

    Raises:
        ClassifierError: no such form, or something that is not or wrongly declared.
        WeightsError: files that are missing, damaged or unsafe.
        MissingDependencyError: a library that the form needs is not installed.
    """
    kind, rest = _kind(str(spec))
    given = {key: value for key, value in options.items() if value is not None}
    if "device" in given and "device" not in _ALLOWED[kind]:
        # Runtimes, servers and functions choose where they run.
        device = given.pop("device")
        if device != "cpu":
            log.warning("%s: device '%s' is ignored", spec, device)
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
    made = _BUILD[kind](rest, declared, mapping, dict(given))
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
    if head in _BUILD and head != "judge" and rest:
        return head, rest
    suffix = Path(spec).suffix.lower()
    if suffix in _SUFFIX:
        return _SUFFIX[suffix], spec
    raise ClassifierError(f"A classifier is one of: {'; '.join(FORMS)}. Got '{spec}'.")


def _labels(
    labels: Labels | Sequence[str] | str | Path | None,
) -> tuple[list[str] | None, Labels | None]:
    """Return names of heads and head -> finding; at most one of them is given."""
    content: Any = labels
    if isinstance(labels, str | Path):
        try:
            content = json.loads(Path(labels).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClassifierError(
                f"A labels file is JSON; reading {labels} gave: {error}. Correct it."
            ) from error
    if content is None:
        return None, None
    if isinstance(content, Mapping):
        return None, {str(key): value for key, value in content.items()}
    if isinstance(content, Sequence) and all(isinstance(name, str) for name in content):
        return list(content), None
    raise ClassifierError(
        "Labels must be a list of heads, or a mapping from heads to findings; got "
        f"{type(content).__name__}."
    )


Build = Callable[[str, dict[str, Any], Labels | None, dict[str, Any]], Described]


def _judge(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    _nothing_declared("judge", declared, mapping)
    return Judge.load()


def _entry_point(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    _nothing_declared("entry point", declared, None)
    point = next(p for p in entry_points(group=GROUP) if p.name == rest)
    inner = cast(Classifier, point.load()())
    card = Card(labels=tuple(inner.findings), size=int(inner.size), range=(0, 1), name=rest)
    facts = {"entry_point": point.value}
    describe = getattr(inner, "describe", None)
    if callable(describe):
        facts["inner"] = describe()
    origin = Origin("entry point", rest, None, facts)
    return Adapter(
        card, lambda batch: inner.logits(batch[:, 0]), origin, labels=mapping, batch_size=None
    )


def _xrv(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers import xrv

    return xrv.load(rest, declared, labels=mapping, **given)


def _hf(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers.huggingface import image_classifier

    return image_classifier(rest, {"name": _last(rest)} | declared, labels=mapping, **given)


def _clip(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers.huggingface import clip

    return clip(rest, {"name": _last(rest)} | declared, labels=mapping, **given)


def _onnx(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers.graphs import Graph

    path = Path(rest).expanduser()
    words = _words(path, declared)
    graph = Graph(path, output=words.get("output"))
    for word in ("size", "channels"):
        static = getattr(graph, word)
        if static is not None and words.setdefault(word, static) != static:
            raise ClassifierError(
                f"What is declared of {path.name} must agree with the graph, {word} {static}; "
                f"got {word} {words[word]}. Correct the sidecar or the option."
            )
    card = make_card(words, where=_where(path))
    if graph.width not in (None, len(card.labels)):
        raise ClassifierError(
            f"Labels must be one a head; {path.name} has {graph.width} heads and "
            f"{len(card.labels)} labels. Correct the sidecar or the option."
        )
    origin = Origin("onnx", path.name, file_sha256(path))
    return Adapter(card, graph, origin, labels=mapping, **given)


def _program(kind: str) -> Build:
    def build(
        rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
    ) -> Described:
        from roentmod.classifiers import programs

        path = Path(rest).expanduser()
        opener = programs.torchscript if kind == "torchscript" else programs.exported
        words = _words(path, declared)
        device = given.pop("device", "cpu")
        forward = opener(path, device=device, output=words.get("output"))
        card = make_card(words, where=_where(path))
        origin = Origin(kind, path.name, file_sha256(path))
        return Adapter(card, forward, origin, labels=mapping, **given)

    return build


def _python(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers.programs import function, pick

    found = function(rest)
    said = getattr(found, "card", {})
    words = {"name": rest, "check_outputs": True, **said, **declared}
    card = make_card(words, where=f"the attribute 'card' of {rest}")
    origin = Origin("python", rest)
    return Adapter(
        card, lambda batch: pick(found(batch), card.output), origin, labels=mapping, **given
    )


def _http(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers.remote import Endpoint

    endpoint = Endpoint(rest, **given)
    said = endpoint.describe(declared.get("size"))
    if declared.get("size") not in (None, said["size"]):
        raise ClassifierError(
            f"What is declared must agree with the endpoint, size {said['size']}; got size "
            f"{declared['size']}. Leave it out."
        )
    if "labels" in declared or declared.get("range", (0, 1)) not in ((0, 1), [0, 1]):
        raise ClassifierError(
            "An endpoint says its own labels and takes [0, 1]; got others. Leave them out, or map "
            "heads to findings."
        )
    words = {"name": endpoint.address, "check_outputs": True, **said, **declared, "range": (0, 1)}
    card = make_card(words, where=f"{endpoint.address}/describe")
    origin = Origin("http", endpoint.address)
    forward = endpoint.forward(card.labels, card.outputs)
    return Adapter(card, forward, origin, labels=mapping, batch_size=None)


def _probe(
    rest: str, declared: dict[str, Any], mapping: Labels | None, given: dict[str, Any]
) -> Described:
    from roentmod.classifiers.probe import load_probe

    _nothing_declared("probe", declared, None)
    return load_probe(Path(rest).expanduser(), labels=mapping, **given)


_BUILD: dict[str, Build] = {
    "judge": _judge,
    "entry point": _entry_point,
    "xrv": _xrv,
    "hf": _hf,
    "clip": _clip,
    "onnx": _onnx,
    "torchscript": _program("torchscript"),
    "export": _program("export"),
    "python": _python,
    "http": _http,
    "probe": _probe,
}


def _words(path: Path, declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return sidecar and options together; options come first."""
    return {"name": path.stem, "check_outputs": True, **sidecar(path), **declared}


def _where(path: Path) -> str:
    return f"{path.name}.json beside the file"


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2] or name


def _nothing_declared(kind: str, declared: Mapping[str, Any], mapping: Labels | None) -> None:
    if declared or mapping:
        words = ", ".join([*declared, *(["labels"] if mapping else [])])
        raise ClassifierError(f"The form '{kind}' says for itself what it is; got {words}.")
