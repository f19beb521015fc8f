"""Hugging Face models: image classifiers, CLIP-type zero-shot models, vision towers.

Only size and numbers of an image processor are used (`rescale`, mean, standard deviation), and what
they make of a probe picture is compared with what the processor itself makes of it.
Its centre crop is not used: pictures come padded to a square, and are resized to the cropped size
whole, so that lung apices and bases stay in the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roentmod.classifiers.adapter import Adapter, Origin
from roentmod.classifiers.card import FOLDER_CARD, Card, json_object, make_card
from roentmod.classifiers.heads import Labels
from roentmod.classifiers.programs import in_torch, need_trust
from roentmod.domain import FINDINGS, NO_FINDING
from roentmod.errors import ClassifierError, WeightsError
from roentmod.store import file_sha256

__all__ = ["clip", "declared_input", "image_classifier", "opened", "vision_tower"]

Array = NDArray[np.float32]
_WEIGHTS = ("*.safetensors", "*.bin")
# Configuration, processor, tokenizer.
_WORDS = ("*.json", "*.txt", "*.model")
# Side of a square that no processor is made for: one that keeps it says no size.
_PROBE = 517
# Difference of pixels that is rounding.
_CLOSE = 1e-4
# Settings of a processor that are understood, or do nothing to square grey pictures.
_SETTINGS = {
    *("image_processor_type", "do_resize", "size", "resample", "do_center_crop", "crop_size"),
    *("do_rescale", "rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std"),
    *("include_top", "crop_pct", "do_convert_rgb", "do_reduce_labels", "default_to_square"),
}
# File that may declare what the others do not.
_WHERE = f"{FOLDER_CARD} in its folder"


def image_classifier(
    name: str,
    declared: Mapping[str, Any],
    *,
    labels: Labels | None = None,
    revision: str | None = None,
    trust: bool = False,
    device: str = "cpu",
    batch_size: int = 16,
) -> Adapter:
    """Return the image classifier in a folder, or of a hub id.

    A configuration for one label per image (a softmax) gives log odds against the rest, the
    difference of the two logits where there are two; one for several labels, its logits.

    Raises:
        WeightsError: nothing can be loaded from there, or the head has no weights.
        ClassifierError: it does not declare size, range or kind of labels.
    """
    name = _place(name)
    model, card = opened(name, declared, revision=revision, trust=trust)
    model.to(device)
    forward = in_torch(lambda inputs: model(pixel_values=inputs).logits, device)
    return Adapter(card, forward, _origin("hf", name, model), labels=labels, batch_size=batch_size)


def opened(
    name: str, declared: Mapping[str, Any], *, revision: str | None = None, trust: bool = False
) -> tuple[Any, Card]:
    """Return the model of `image_classifier`, which reads one label each or several, and its card.

    Raises:
        WeightsError: nothing can be loaded from there, or the head has no weights.
        ClassifierError: it does not declare size, range or kind of labels.
    """
    name = _place(name)
    model = _load("AutoModelForImageClassification", name, revision, trust=trust)
    config = model.config
    names = [str(config.id2label[i]) for i in sorted(config.id2label)]
    words = declared_input(name, revision, config, declared) | {
        "labels": names,
        "outputs": "logits",
    }
    if "activation" not in declared:
        words["activation"] = _activation(config, len(names))
    return model, make_card(words | dict(declared), where=_WHERE)


def clip(
    name: str,
    declared: Mapping[str, Any],
    *,
    labels: Labels | None = None,
    prompts: Mapping[str, tuple[str, str]] | None = None,
    revision: str | None = None,
    trust: bool = False,
    device: str = "cpu",
    batch_size: int = 16,
) -> Adapter:
    """Return a CLIP or SigLIP model as a zero-shot classifier.

    The logit of a finding is scale x (cos(image, positive) - cos(image, negative)), whose sigmoid
    is the softmax over the two prompts (CheXzero: Tiu et al., Nat Biomed Eng 2022, whose prompts
    "{finding}" and "no {finding}" are the default here).

    Args:
        name: folder or hub id, with its tokenizer.
        declared: words that stand for those of the files; `labels` chooses the prompts.
        labels: head -> finding, over and above the aliases.
        prompts: head -> (positive, negative), over the default ones, or for other heads.
        revision: of a hub id.
        trust: whether ``.bin`` weights, which are pickles, may be loaded.
        device: of torch.
        batch_size: pictures per forward pass.

    Raises:
        WeightsError: nothing can be loaded from there.
        ClassifierError: a label without prompts, or no zero-shot model.
    """
    from transformers import AutoTokenizer

    name = _place(name)
    model = _load("AutoModel", name, revision, trust=trust)
    if not (hasattr(model, "get_text_features") and hasattr(model, "logit_scale")):
        raise ClassifierError(
            f"A clip: model needs image and text towers; {name} is a {type(model).__name__}. "
            "Use hf: for a classifier with heads."
        )
    pairs = {f.name: (f.phrase, f"no {f.phrase}") for f in FINDINGS if f is not NO_FINDING}
    pairs |= dict(prompts or {})
    wanted = list(declared.get("labels") or pairs)
    lacking = [label for label in wanted if label not in pairs or len(pairs[label]) != 2]
    if lacking:
        raise ClassifierError(
            f"Each label needs a positive and a negative prompt; {', '.join(lacking)} has none. "
            "Give prompts={label: (positive, negative)}."
        )
    words = declared_input(name, revision, model.config, declared) | {
        "labels": wanted,
        "outputs": "logits",
    }
    card = make_card(words | dict(declared), where=_WHERE)
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    used = {label: tuple(pairs[label]) for label in wanted}
    forward = in_torch(_zero_shot(model, tokenizer, list(used.values()), device), device)
    origin = _origin("clip", name, model, prompts={k: list(v) for k, v in used.items()})
    return Adapter(card, forward, origin, labels=labels, batch_size=batch_size)


def vision_tower(
    name: str, declared: Mapping[str, Any], *, revision: str | None = None, device: str = "cpu"
) -> tuple[Card, Callable[[Array], Any], Origin]:
    """Return card, function (n x channels x size x size -> n x d) and origin of an image encoder.

    The embedding is the pooled output, or the mean over positions where there is none.

    Raises:
        WeightsError: nothing can be loaded from there.
        ClassifierError: it does not declare size or range.
    """
    name = _place(name)
    model = _load("AutoModel", name, revision, spare="pooler.")
    words = declared_input(name, revision, model.config, declared)
    words |= {"labels": ["embedding"], "outputs": "logits"}
    card = make_card(words | dict(declared), where=_WHERE)

    def embed(inputs: Any) -> Any:
        if hasattr(model, "get_image_features"):
            return _pooled(model.get_image_features(pixel_values=inputs))
        return _pooled(model(pixel_values=inputs)).flatten(1)

    model.to(device)
    return card, in_torch(embed, device), _origin("hf", name, model)


def _zero_shot(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, ...]], device: str
) -> Callable[[Any], Any]:
    import torch

    # SigLIP learned its texts padded to the full length.
    padding = "max_length" if "siglip" in str(model.config.model_type) else True
    flat = [text for pair in pairs for text in pair]
    tokens = tokenizer(flat, padding=padding, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        model.to(device)
        words = _unit(_pooled(model.get_text_features(**tokens.to(device))))
        direction = model.logit_scale.exp() * (words[0::2] - words[1::2])
    return lambda inputs: _unit(_pooled(model.get_image_features(inputs))) @ direction.T


def _pooled(output: Any) -> Any:
    """Return the features: a tensor before transformers 5, a field of an output since."""
    if hasattr(output, "shape"):
        return output
    pooled = getattr(output, "pooler_output", None)
    if pooled is not None:
        return pooled
    hidden = output.last_hidden_state
    return hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)


def _unit(features: Any) -> Any:
    return features / features.norm(dim=-1, keepdim=True)


def _place(name: str) -> str:
    """Return the path of a folder, ``~`` expanded, and any other name as it is."""
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def _load(
    auto: str,
    name: str,
    revision: str | None,
    *,
    spare: str = "no key starts like this",
    trust: bool = False,
) -> Any:
    """Return the model; a part whose keys start with `spare` may lack, and is then off."""
    import transformers

    _check_folder(Path(name), trust)
    try:
        model, info = getattr(transformers, auto).from_pretrained(
            name,
            revision=revision,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=None if trust else True,
        )
    # Configurations of any kind end in errors of any kind.
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"A Hugging Face model is a folder with config.json and weights, or a hub id; loading "
            f"'{name}' gave: {text}"
        ) from error
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(spare))
    if len(missing) < len(info["missing_keys"]):
        setattr(model, spare.rstrip("."), None)
    if missing:
        # transformers fills the gap with random numbers and goes on.
        raise WeightsError(
            f"The weights of '{name}' must be complete; {len(missing)} are missing "
            f"({', '.join(missing[:3])}). Give a model that was trained for this."
        )
    return model.float().eval()


def _check_folder(folder: Path, trust: bool) -> None:
    """Refuse a folder whose weights are pickles, or lie elsewhere.

    Raises:
        WeightsError: with the file in question.
    """
    pickles = sorted(folder.glob("*.bin"))
    if pickles and not list(folder.glob("*.safetensors")):
        why = "weights as a pickle, which is a list of calls; safetensors are none."
        need_trust(pickles[0].name, trust, why)
    for index in folder.glob("*.index.json"):
        for name in set(json_object(index).get("weight_map", {}).values()):
            if Path(str(name)).name != name:
                raise WeightsError(
                    f"Weights lie in the model's folder; {index.name} names '{name}'. Save the "
                    "model again."
                )


def _activation(config: Any, labels: int) -> str:
    kind = getattr(config, "problem_type", None)
    if labels == 1 or kind == "multi_label_classification":
        return "sigmoid"
    if kind == "single_label_classification":
        return "softmax"
    raise ClassifierError(
        f"A classifier of {labels} labels must say whether one or several apply at once "
        f"(problem_type in config.json); got {kind}. Give --activation sigmoid (several) or "
        "softmax (one); in Python, activation='sigmoid' or 'softmax'."
    )


def declared_input(
    name: str, revision: str | None, config: Any, declared: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return size, range, channels, mean and std as processor and configuration say.

    Where all of these are `declared`, the processor is not looked at.

    Raises:
        ClassifierError: the processor does more with numbers than these words say.
    """
    if timm := getattr(config, "pretrained_cfg", None):
        try:
            channels, side, _ = timm["input_size"]
            words = {word: timm.get(word, ()) for word in ("mean", "std")}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ClassifierError(
                f"pretrained_cfg of {Path(name).name} must say input_size; reading it gave "
                f"{error!r}. Save the model again."
            ) from error
        return {**words, "size": side, "channels": channels, "range": (0, 1)}
    vision = getattr(config, "vision_config", config)
    channels = getattr(vision, "num_channels", None)
    known = {"size", "range", "mean", "std"} <= set(declared or {})
    words = {} if known else _processor(name, revision, channels)
    channels = channels or len(words.get("mean") or [0] * 3)
    size = words.pop("size", None) or getattr(vision, "image_size", None)
    side = size[0] if isinstance(size, list | tuple) else size
    return {**words, "size": side, "channels": channels}


def _processor(name: str, revision: str | None, channels: int | None) -> dict[str, Any]:
    """Return size, range, mean and std of an image processor, {} where there is none.

    Raises:
        ClassifierError: the processor itself makes something else of a picture.
    """
    from transformers import AutoImageProcessor
    from transformers.image_processing_utils import BaseImageProcessor

    try:
        BaseImageProcessor.get_image_processor_dict(name, revision=revision)
    except (OSError, ValueError):
        return {}
    try:
        real = AutoImageProcessor.from_pretrained(name, revision=revision, trust_remote_code=False)
        grey = _pixels(real, np.full((_PROBE, _PROBE), 128, np.uint8), channels)
        if np.ptp(grey, axis=(1, 2)).max() > _CLOSE:
            raise ValueError(f"{type(real).__name__} adds a border.")
        side = grey.shape[-1]
        words: dict[str, Any] = _numbers(real) | {"size": None if side == _PROBE else side}
        _compare(real, words, channels)
    # A processor of any make, with settings of any kind.
    except Exception as error:
        text = " ".join(str(error).split())[:240]
        raise ClassifierError(
            f"An image processor must scale and shift grey levels, and no more; that of "
            f"{Path(name).name} gave: {text} Give size=, input_range=, mean= and std=, if the "
            "model takes such pictures."
        ) from error
    return words


def _numbers(real: Any) -> dict[str, Any]:
    """Return range, mean and std as the settings of a processor say."""
    scale = real.rescale_factor if real.do_rescale else 1
    # 255 x 1/255 in double is 1 within rounding; the range is meant to be exactly that.
    top = round(255 * float(scale), 6)
    low = -1 if real.do_rescale and getattr(real, "rescale_offset", False) else 0
    words: dict[str, Any] = {"range": (low, top + low)}
    normal = bool(getattr(real, "do_normalize", False))
    # EfficientNet's: divided by the deviation once more.
    times = normal + bool(getattr(real, "include_top", False))
    if times:
        std = [float(value) ** times for value in np.atleast_1d(real.image_std)]
        mean = list(np.atleast_1d(real.image_mean).tolist()) if normal else [0.0] * len(std)
        words |= {"mean": mean, "std": std}
    return words


def _pixels(real: Any, levels: NDArray[np.uint8], channels: int | None, **options: Any) -> Array:
    """Return what a processor makes of one square grey picture, channels x h x w.

    Raises:
        ValueError: no square of pixels.
    """
    grey = Image.fromarray(levels)
    colour = grey if channels == 1 else grey.convert("RGB")
    answer = real(colour, return_tensors="np", **options)
    pixels: Array = np.asarray(answer["pixel_values"], np.float32)
    if pixels.ndim != 4 or len(pixels) != 1 or pixels.shape[2] != pixels.shape[3]:
        raise ValueError(f"{type(real).__name__} makes {'x'.join(map(str, pixels.shape))} of it.")
    return np.ascontiguousarray(pixels[0])


def _compare(real: Any, words: Mapping[str, Any], channels: int | None) -> None:
    """Compare what a card of these words makes of a probe picture with the processor's.

    Raises:
        ValueError: they differ.
    """
    side = words["size"] or 32
    levels = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    theirs = _pixels(real, levels, channels, do_resize=False, do_center_crop=False)
    count = channels or len(words.get("mean", "rgb"))
    card = make_card(
        {"labels": ["probe"], "outputs": "logits", **words, "size": side, "channels": count},
        where=_WHERE,
    )
    ours = card.prepare((levels[None] / 255).astype(np.float32))[0]
    if theirs.shape != ours.shape or not np.allclose(theirs, ours, rtol=_CLOSE, atol=_CLOSE):
        extra = sorted(set(real.to_dict()) - _SETTINGS)
        raise ValueError(
            f"pixels of {type(real).__name__} that differ from what its settings of scale, mean "
            f"and standard deviation make of a probe picture; others are {', '.join(extra)}."
        )


def _origin(kind: str, source: str, model: Any, **facts: Any) -> Origin:
    import transformers

    facts |= {
        "model": type(model).__name__,
        "revision": getattr(model.config, "_commit_hash", None),
        "transformers": transformers.__version__,
    }
    folder = Path(source)
    weights, words = (_hashes(folder, patterns) for patterns in (_WEIGHTS, _WORDS))
    if len(weights) > 1:
        facts["weights"] = weights
    if folder.is_dir():
        source = folder.resolve().name
        facts["files"] = words
    digest = next(iter(weights.values())) if len(weights) == 1 else None
    return Origin(kind, source, digest, facts)


def _hashes(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    files = {file for pattern in patterns for file in folder.glob(pattern)}
    return {file.name: file_sha256(file) for file in sorted(files)}
