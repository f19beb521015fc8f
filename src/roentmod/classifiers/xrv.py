"""TorchXRayVision models, by their raw logits.

The library's own output is bent: `op_norm` maps each head's threshold (0.0022 for Emphysema, 0.103
for Effusion) to 0.5, so that one change means different things in different heads; and heads
without a threshold or label were never trained. Here thresholds and sigmoid are switched off and
such heads left out. Input is exactly [-1024, 1024], square, at the model's own size, never cropped.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from roentmod._optional import require
from roentmod.classifiers.adapter import Adapter, Origin
from roentmod.classifiers.card import Card, make_card, sidecar
from roentmod.classifiers.graphs import existing
from roentmod.classifiers.heads import Labels
from roentmod.classifiers.programs import in_torch, need_trust
from roentmod.errors import ClassifierError, WeightsError
from roentmod.store import file_sha256

__all__ = ["RANGE", "adapt", "load", "opened"]

RANGE = (-1024.0, 1024.0)


def load(
    source: str,
    declared: Mapping[str, Any],
    *,
    labels: Labels | None = None,
    trust: bool = False,
    device: str = "cpu",
    batch_size: int = 16,
) -> Adapter:
    """Return the model of that name (its weights are downloaded once), or in that file.

    A file is a state dict of the library's DenseNet, with the names of its targets in a sidecar, or
    (`trust`, as it can run any code) a whole pickled model, as the library publishes them.

    Raises:
        WeightsError: no such model, or a file that does not fit.
        ClassifierError: targets that are not declared, another size or range than the model's.
        MissingDependencyError: TorchXRayVision is not installed.
    """
    model, digest, source = _found(source, declared, trust)
    return adapt(
        model,
        declared,
        source=source,
        sha256=digest,
        labels=labels,
        device=device,
        batch_size=batch_size,
    )


def adapt(
    model: Any,
    declared: Mapping[str, Any] | None = None,
    *,
    source: str,
    sha256: str | None = None,
    labels: Labels | None = None,
    device: str = "cpu",
    batch_size: int = 16,
) -> Adapter:
    """Return a TorchXRayVision `model` (``targets``, ``op_threshs``, n x 1 x h x w) as classifier.

    The model is changed: its thresholds and sigmoid are switched off.

    Raises:
        ClassifierError: another size or range than the model's, or no target it was trained for.
    """
    card, untrained = _bared(model, declared or {}, source)
    origin = Origin("xrv", source, sha256, {"torchxrayvision": _version()})
    return Adapter(
        card,
        in_torch(model.to(device).float().eval(), device),
        origin,
        labels=labels,
        untrained=untrained,
        batch_size=batch_size,
    )


def opened(source: str, *, trust: bool = False) -> tuple[Any, Card, tuple[int, ...], str | None]:
    """Return a model as `load` finds it, its card, outputs never trained, and its file's hash.

    Raises:
        RoentModError: as in `load`.
    """
    model, digest, name = _found(source, {}, trust)
    return model.float(), *_bared(model, {}, name), digest


def _found(source: str, declared: Mapping[str, Any], trust: bool) -> tuple[Any, str | None, str]:
    """Return a model, the hash of its file, and its name."""
    path = Path(source).expanduser()
    if path.suffix in (".pt", ".pth") or path.is_file():
        return _file(path, declared, trust), file_sha256(path), path.name
    return *_named(source), source


def _bared(model: Any, declared: Mapping[str, Any], source: str) -> tuple[Card, tuple[int, ...]]:
    """Switch off a model's thresholds and sigmoid; return its card, and outputs never trained."""
    given = dict(declared)
    size = int(getattr(model, "input_resolution", given.get("size", 224)))
    targets = [str(name or "") for name in given.pop("labels", None) or model.targets]
    words = {"labels": targets, "size": size, "range": RANGE, "outputs": "logits", "name": source}
    for word in ("size", "range", "outputs"):
        if word in given and given[word] != words[word]:
            raise ClassifierError(
                f"A TorchXRayVision model takes {size} px in [-1024, 1024] and gives logits; got "
                f"{word}={given[word]}. Leave it out."
            )
    thresholds = getattr(model, "op_threshs", None)
    bare = () if thresholds is None else np.flatnonzero(np.isnan(thresholds.cpu().numpy())).tolist()
    # The library's forward bends or squashes its answer as long as either is there.
    model.op_threshs, model.apply_sigmoid = None, False
    return make_card(words | given, where="the options"), tuple(bare)


def _library() -> Any:
    # Importing it switches off every warning of the process; that is undone here.
    with warnings.catch_warnings():
        return require("torchxrayvision")


def _version() -> str | None:
    try:
        return version("torchxrayvision")
    except PackageNotFoundError:
        return None


def _named(name: str) -> tuple[Any, str | None]:
    models = _library().models
    if name not in models.model_urls:
        raise WeightsError(
            f"TorchXRayVision has the weights {', '.join(models.model_urls)}; got '{name}'. "
            "Give one of them, or a file."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = models.get_model(name)
    # A download that fails raises whatever its HTTP library does.
    except Exception as error:
        raise WeightsError(
            f"The weights '{name}' must be loaded or downloaded; that gave: {error}"
        ) from error
    file = getattr(model, "weights_filename_local", None)
    return model, file_sha256(file) if file else None


def _file(path: Path, declared: Mapping[str, Any], trust: bool) -> Any:
    import pickle

    import torch

    library = _library()
    try:
        file = existing(path)
        content = torch.load(file, map_location="cpu", weights_only=not trust)  # nosec B614 # trust
    except pickle.UnpicklingError:
        need_trust(path.name, trust, "a pickled model, and no state dict.")
        raise WeightsError(f"{path.name} is a damaged pickle. Save it again.") from None
    except (RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"{path.name} cannot be read: {error}. Save it again.") from error
    if not isinstance(content, Mapping):
        for module in content.modules():
            # Pickles of old torch versions lack it, and fail without.
            module.__dict__.setdefault("_non_persistent_buffers_set", set())
        return content
    names = declared.get("labels") or sidecar(path).get("labels")
    if not names:
        raise ClassifierError(
            f"A state dict must come with its targets; {path.name} has none. Give labels=[...], or "
            f"write {path.name}.json: {json.dumps({'labels': ['Edema', '...']})}."
        )
    model = library.models.DenseNet(num_classes=len(names), weights=None)
    state = {key: value for key, value in content.items() if key != "op_threshs"}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path.name} must fit the library's DenseNet: {text}") from error
    model.targets, model.op_threshs = list(names), content.get("op_threshs")
    return model
