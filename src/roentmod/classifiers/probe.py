"""Embeddings and a linear probe: the way CXR Foundation (ELIXR) and Ark+ are used.

A probe is a folder: ``probe.json`` (labels, which embedder, how it was fitted) and ``probe.npz``
(weight k x d, bias k). No pickle.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, ValidationError

from roentmod._optional import require
from roentmod.classifiers.adapter import Adapter, Origin
from roentmod.classifiers.card import Card, json_object, make_card, sidecar
from roentmod.classifiers.checks import as_array, check_finite, check_images
from roentmod.classifiers.graphs import Graph
from roentmod.classifiers.heads import Labels
from roentmod.classifiers.programs import function, need_trust, python_origin
from roentmod.errors import ClassifierError, WeightsError
from roentmod.interfaces import Loaded
from roentmod.store import atomic, file_sha256, write_json

__all__ = ["Embedder", "fit_probe", "load_embedder", "load_probe"]

Array = NDArray[np.float32]
FORMAT = "roentmod-probe-1"
# Bytes of coefficients: 1,000 labels of 8,192 dimensions have 66 MB.
_LARGEST = 2**28
FORMS = "python:package.module:function, onnx:FILE, hf:FOLDER_OR_HUB_ID"


class _Recipe(BaseModel):
    """Arguments of `load_embedder` as a file holds them."""

    model_config = ConfigDict(extra="forbid")

    spec: str = ""
    size: StrictInt | None = None
    input_range: tuple[StrictFloat, StrictFloat] | None = None
    channels: StrictInt | None = None
    mean: StrictFloat | tuple[StrictFloat, ...] | None = None
    std: StrictFloat | tuple[StrictFloat, ...] | None = None
    output: str | None = None
    name: str | None = None


class Embedder(Loaded):
    """Turns pictures into vectors.

    Attributes:
        size: side in pixels of the square pictures it takes.
        card: declaration of its input.
        origin: for provenance.
        recipe: words from which `load_embedder` makes it again, {} where it cannot.
    """

    def __init__(
        self,
        card: Card,
        forward: Callable[[Array], Any],
        origin: Origin,
        *,
        recipe: Mapping[str, Any] | None = None,
        batch_size: int = 16,
    ) -> None:
        """Keep `forward`, which takes n x channels x size x size and gives n x d."""
        self.card, self.origin, self.size = card, origin, card.size
        self.recipe = dict(recipe or {})
        self._forward, self._batch = forward, batch_size

    def embed(self, images: Array) -> Array:
        """Return embeddings, n x d float32, of images, n x size x size float32 in [0, 1].

        Raises:
            ClassifierError: other images than declared, or an answer that is no finite n x d array.
        """
        check_images(images, self.size)
        chunks = [images[i : i + self._batch] for i in range(0, len(images), self._batch)]
        return np.concatenate([self.vectors(self.card.prepare(chunk)) for chunk in chunks])

    def vectors(self, batch: Array) -> Array:
        """Return embeddings of a prepared batch, n x channels x size x size; errors as `embed`."""
        values = as_array(self._forward(batch))
        if values.ndim != 2 or len(values) != len(batch) or values.dtype.kind != "f":
            raise ClassifierError(
                f"An embedder must answer {len(batch)} x d floats; got "
                f"{'x'.join(map(str, values.shape))} {values.dtype}. Pool it to one vector each."
            )
        check_finite(values, [f"dimension {i}" for i in range(values.shape[1])])
        return values.astype(np.float32)


def load_embedder(
    spec: str,
    *,
    size: int | None = None,
    input_range: tuple[float, float] | None = None,
    batch_size: int = 16,
    **declared: Any,
) -> Embedder:
    """Return the embedder ``python:module:function``, ``onnx:FILE`` or ``hf:FOLDER_OR_HUB_ID``.

    Args:
        spec: which one.
        size: side in pixels of the pictures it takes, where the model does not say.
        input_range: what display values 0 and 1 become, where no sidecar says.
        batch_size: pictures per call.
        declared: channels, mean, std, output, name: as in a sidecar.

    Raises:
        ClassifierError: another form, or input that is not declared.
        WeightsError: a file that is missing or damaged.
    """
    kind, _, rest = spec.partition(":")
    words = {"size": size, "range": input_range, **declared}
    words = {key: value for key, value in words.items() if value is not None}
    recipe = {"spec": spec, "size": size, "input_range": input_range, **declared}
    recipe = {key: value for key, value in recipe.items() if value is not None}
    if kind == "hf":
        from roentmod.classifiers.huggingface import vision_tower

        card, forward, origin = vision_tower(rest, words)
    elif kind == "onnx":
        path = Path(rest).expanduser()
        words = sidecar(path) | words
        graph = Graph(path, output=words.get("output"))
        fixed = {"size": graph.size, "channels": graph.channels}
        words = {k: v for k, v in fixed.items() if v is not None} | words
        card, forward = _card(words, spec), graph
        origin = Origin.of_file("onnx", path, graph.tensor_files)
        recipe["spec"] = f"onnx:{path.absolute()}"
    elif kind == "python":
        forward = function(rest)
        words = {**getattr(forward, "card", {}), **words}
        card, origin = _card(words, spec), python_origin(rest)
    else:
        raise ClassifierError(f"An embedder is {FORMS}; got '{spec}'.")
    made = Embedder(card, forward, origin, recipe=recipe, batch_size=batch_size)
    made.remember(load_embedder, batch_size=batch_size, **recipe)
    return made


def fit_probe(
    embedder: Embedder,
    images: Array,
    labels: Mapping[str, ArrayLike],
    folder: str | Path,
    *,
    c: float = 1.0,
) -> Adapter:
    """Fit one logistic regression per label, write the probe to `folder`, and return it.

    Embeddings are standardised over the images that have the label; the stored coefficients are
    those of the embeddings as they come.

    Args:
        embedder: makes vectors of pictures.
        images: n x size x size float32 in [0, 1].
        labels: name -> n values: 1 present, 0 absent, NaN unknown (that image is passed over).
        folder: where the probe goes; made if missing.
        c: inverse strength of the L2 penalty, as scikit-learn's C.

    Raises:
        ClassifierError: labels of another length or value, or only one of both present.
        MissingDependencyError: scikit-learn is not installed.
    """
    learn = require("sklearn")
    vectors = embedder.embed(images).astype(np.float64)
    rows = []
    for name, values in labels.items():
        truth = _truth(name, values, len(images))
        rows.append(_logistic(vectors[~np.isnan(truth)], truth[~np.isnan(truth)], c))
    weight, bias = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with atomic(target / "probe.npz") as part:
        np.savez(part, weight=weight, bias=bias)
    counts = {name: int(np.nansum(np.asarray(values, float))) for name, values in labels.items()}
    card = {
        "format": FORMAT,
        "labels": list(labels),
        "embedder": embedder.recipe,
        "embedder_sha256": embedder.origin.sha256,
        "embedder_files": embedder.origin.hashes,
        "fit": {"n": len(images), "positive": counts, "c": c, "scikit_learn": learn.__version__},
    }
    write_json(target / "probe.json", card)
    return load_probe(target, embedder=embedder)


def load_probe(
    folder: str | Path,
    *,
    labels: Labels | None = None,
    embedder: Embedder | None = None,
    trust: bool = False,
) -> Adapter:
    """Return the probe in `folder` as a classifier; `embedder` stands for the one it names.

    Without `trust`, the file may name an ``onnx:`` embedder alone.

    Raises:
        WeightsError: a file is missing or damaged, the embedder is not the one it was fitted on, or
            another form than the file may choose.
        ClassifierError: the embedder cannot be made again from the probe's words.
    """
    root = Path(folder)
    if not (root / "probe.json").is_file():
        raise WeightsError(
            f"A probe is a folder with probe.json and probe.npz; {root} has none. Fit it again."
        )
    stated = json_object(root / "probe.json")
    weight, bias, names = _coefficients(root / "probe.npz", stated)
    if embedder is None:
        embedder = _named_embedder(stated, root.name, trust)
    _check_embedder(embedder.origin, stated)
    made = embedder

    def forward(batch: Array) -> NDArray[np.float64]:
        vectors = made.vectors(batch).astype(np.float64)
        if vectors.shape[1] != weight.shape[1]:
            raise ClassifierError(
                f"The probe {root.name} takes {weight.shape[1]} dimensions; the embedder gives "
                f"{vectors.shape[1]}. Fit it again."
            )
        answer: NDArray[np.float64] = vectors @ weight.T + bias
        return answer

    base = {k: getattr(made.card, k) for k in ("size", "range", "channels", "mean", "std")}
    card = Card(labels=names, name=root.name, **base)
    below = made.origin
    sources = {"kind": below.kind, "source": below.source, "sha256": stated.get("embedder_sha256")}
    facts = {"embedder": {**sources, "files": below.hashes}, "fit": stated.get("fit")}
    origin = Origin("probe", root.name, file_sha256(root / "probe.npz"), facts)
    probe = Adapter(card, forward, origin, labels=labels)
    probe.remember(load_probe, root.absolute(), labels=labels, embedder=embedder)
    return probe


def _named_embedder(stated: Mapping[str, Any], name: str, trust: bool) -> Embedder:
    """Return the embedder that a probe's file names; errors as `load_probe`."""
    try:
        recipe = _Recipe.model_validate(stated.get("embedder") or {})
    except ValidationError as error:
        word = ".".join(map(str, error.errors()[0]["loc"]))
        raise WeightsError(
            f"{name} must be a whole probe ({FORMAT}); its embedder's '{word}' is wrong. Fit it "
            "again."
        ) from error
    if not recipe.spec:
        raise ClassifierError(
            f"The probe {name} was fitted on an embedder made in Python. Give embedder=."
        )
    if not recipe.spec.startswith("onnx:"):
        why = f"a file chooses '{recipe.spec[:80]}', and may choose onnx:FILE alone."
        need_trust(f"The embedder of probe {name}", trust, why, "In Python, give embedder=. ")
    return load_embedder(**recipe.model_dump(exclude_none=True))


def _check_embedder(origin: Origin, stated: Mapping[str, Any]) -> None:
    """Refuse another embedder than the probe was fitted on; code may change, files may not.

    Raises:
        WeightsError: a file of it has another hash.
    """
    wanted: set[str | None] = set((stated.get("embedder_files") or {}).values())
    got: set[str | None] = set(origin.hashes.values())
    if not wanted or origin.kind == "python":
        wanted, got = {stated.get("embedder_sha256")}, {origin.sha256}
    if wanted != got and wanted != {None}:
        shown = (", ".join(sorted(str(one)[:12] for one in hashes)) for hashes in (wanted, got))
        raise WeightsError(
            f"A probe must run on the embedder it was fitted on, SHA-256 {next(shown)}; "
            f"{origin.source} has {next(shown)}. Fit it again."
        )


def _card(words: Mapping[str, Any], spec: str) -> Card:
    return make_card({"labels": ["embedding"], "outputs": "logits"} | dict(words), where=spec)


def _truth(name: str, values: ArrayLike, images: int) -> NDArray[np.float64]:
    truth = np.asarray(values, np.float64)
    known = truth[~np.isnan(truth)]
    if truth.shape != (images,) or not np.isin(known, (0, 1)).all() or len(set(known)) < 2:
        raise ClassifierError(
            f"Labels must be {images} values of 0, 1 or NaN, with both 0 and 1 among them; got "
            f"{truth.shape} with {sorted(set(known.tolist()))[:5]} for '{name}'. Leave it out."
        )
    return truth


def _logistic(
    vectors: NDArray[np.float64], truth: NDArray[np.float64], c: float
) -> tuple[NDArray[np.float64], float]:
    mean, std = vectors.mean(0), vectors.std(0)
    # A dimension that never moves keeps its scale: dividing by its rounding would blow it up.
    std = np.where(std > 1e-9 * np.maximum(1, np.abs(mean)), std, 1.0)
    model = import_module("sklearn.linear_model").LogisticRegression(C=c, max_iter=5000)
    model.fit((vectors - mean) / std, truth)
    weight = model.coef_[0] / std
    return weight, float(model.intercept_[0] - weight @ mean)


def _coefficients(
    path: Path, stated: Mapping[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:
    try:
        names = tuple(str(name) for name in stated["labels"])
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST:
                raise ValueError(f"more than {_LARGEST:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            weight, bias = file["weight"].astype(np.float64), file["bias"].astype(np.float64)
        good = weight.ndim == 2 and bias.shape == (len(weight),) == (len(names),)
        if stated.get("format") != FORMAT or not good or not np.isfinite(weight).all():
            raise ValueError(
                f"format {stated.get('format')}, weight {weight.shape}, bias {bias.shape}"
            )
    except (OSError, KeyError, ValueError, TypeError, MemoryError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path.parent.name} must be a whole probe ({FORMAT}); got {error!r}. Fit it again."
        ) from error
    return weight, bias, names
