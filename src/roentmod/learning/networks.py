"""Networks by one line of text: n x 1 x size x size display values in, n x k logits out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from roentmod.classifiers import huggingface, programs
from roentmod.errors import ClassifierError, RetrainError
from roentmod.store import file_sha256

__all__ = [
    "FORMS",
    "Prepared",
    "Small",
    "build",
    "check_folder",
    "check_trust",
    "described",
    "factory_of",
]

FORMS = (
    "densenet121",
    "small",
    "hf:FOLDER",
    "python:package.module:factory",
    "python:FILE.py:factory",
)


class Small(nn.Module):
    """A small convolutional classifier: 0.16 M parameters, any side of 16 pixels or more."""

    def __init__(self, heads: int) -> None:
        """Build it, untrained."""
        super().__init__()
        widths = (16, 32, 64, 96)
        layers: list[nn.Module] = []
        for inward, outward in zip((1, *widths), widths, strict=False):
            kernel = 5 if inward == 1 else 3
            layers += _layer(inward, outward, kernel, 2)
        layers += _layer(96, 96, 3, 1)
        self.grid = nn.Sequential(*layers)
        self.whole = nn.Linear(2 * 96, heads)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, n x k."""
        grid = self.grid((image - 0.5) * 4)
        pooled = torch.cat([grid.mean((-2, -1)), grid.amax((-2, -1))], dim=1)
        logits: Tensor = self.whole(pooled)
        return logits


def _layer(inward: int, outward: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outward), nn.ReLU(inplace=True)]


class Prepared(nn.Module):
    """A network behind the channels, range and normalisation it wants."""

    scale: Tensor
    offset: Tensor

    def __init__(self, model: nn.Module, words: Mapping[str, Any]) -> None:
        """Put display values before a model, as the words of a card say."""
        super().__init__()
        self.model = model
        self.channels = int(words["channels"])
        low, high = words.get("range", (0, 1))
        mean, std = (
            torch.tensor(words.get(name) or [usual], dtype=torch.float32).view(1, -1, 1, 1)
            for name, usual in (("mean", 0.0), ("std", 1.0))
        )
        self.register_buffer("scale", (high - low) / std)
        self.register_buffer("offset", (low - mean) / std)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, n x k."""
        inputs = image.expand(-1, self.channels, -1, -1) * self.scale + self.offset
        answer = self.model(inputs)
        logits: Tensor = getattr(answer, "logits", answer)
        return logits


def build(spec: str, heads: int, seed: int, size: int) -> nn.Module:
    """Return an untrained network, or a pretrained one with new heads.

    `densenet121` is MONAI's for one channel, `small` takes seconds to train on a processor; `hf:`
    is an image classifier in a local folder, with the channels and normalisation that its files
    declare; `python:` a function that is called as ``factory(heads=k)``.

    Args:
        spec: one of `FORMS`.
        heads: k.
        seed: of the first weights; the caller's random numbers stay as they were.
        size: side in pixels of its pictures.

    Raises:
        RetrainError: no such form, a factory that gives no module, or other answers than n x k.
        WeightsError: nothing can be loaded from the folder.
        ClassifierError: its files do not declare channels and range, or there is no such function.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _make(spec, heads)
    if not isinstance(network, nn.Module):
        raise RetrainError(
            f"A network is a torch.nn.Module; '{spec}' gave {type(network).__name__}. Return one."
        )
    _check(network, spec, heads, size)
    return network


def check_trust(spec: str, trust: bool) -> None:
    """Refuse a network that is a program, unless it is trusted.

    Raises:
        WeightsError: it is one.
    """
    if spec.startswith("python:"):
        programs.need_trust(spec, trust, "importing a module runs it.")


def described(spec: str) -> dict[str, Any]:
    """Return what provenance records of a network: the spec, and hashes of the files it names."""
    kind, _, rest = spec.partition(":")
    place = Path(rest.rpartition(":")[0] if kind == "python" else rest).expanduser()
    files = sorted(place.glob("*.safetensors")) if kind == "hf" else [place]
    hashes = {file.name: file_sha256(file) for file in files if kind and file.is_file()}
    return {"model": spec, "sha256": hashes if kind in ("hf", "python") else {}}


def _make(spec: str, heads: int) -> Any:
    kind, _, rest = spec.partition(":")
    if spec == "densenet121":
        from monai.networks.nets.densenet import DenseNet121

        return DenseNet121(spatial_dims=2, in_channels=1, out_channels=heads)
    if spec == "small":
        return Small(heads)
    if kind == "hf" and rest:
        return _hugging_face(Path(rest).expanduser(), heads)
    if kind == "python" and rest:
        return factory_of(rest)(heads=heads)
    raise RetrainError(f"A network is one of: {'; '.join(FORMS)}. Got '{spec}'.")


def _hugging_face(folder: Path, heads: int) -> nn.Module:
    import transformers

    check_folder(folder)
    try:
        model = transformers.AutoModelForImageClassification.from_pretrained(  # nosec B615 # a folder
            str(folder),
            num_labels=heads,
            problem_type="multi_label_classification",
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        text = " ".join(str(error).split())[:300]
        raise RetrainError(
            f"An hf: network is an image classifier with weights; loading {folder.name} gave: "
            f"{text}"
        ) from error
    words = huggingface.declared_input(str(folder), None, model.config)
    return Prepared(model.float(), words)


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no model of Hugging Face's.

    Raises:
        RetrainError: there is no config.json.
    """
    if not (folder / "config.json").is_file():
        raise RetrainError(
            f"An hf: network is a local folder with config.json; {folder} is none. Download it, "
            "and name the folder."
        )


def factory_of(name: str) -> Callable[..., Any]:
    """Return the function that ``package.module:function`` or ``FILE.py:function`` names.

    Raises:
        RetrainError: there is no such file.
        ClassifierError: there is no such module or function, or the file raises.
    """
    module, _, attribute = name.rpartition(":")
    if not module.endswith(".py"):
        return programs.function(name)
    path = Path(module).expanduser()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RetrainError(f"A python: network's file must exist; {path} does not. Correct it.")
    code = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(code)
        made: Callable[..., Any] = getattr(code, attribute)
    # Foreign code raises anything.
    except Exception as error:
        raise ClassifierError(
            f"A python: network is a function of its file; '{name}' gave "
            f"{type(error).__name__}: {error}. Correct the file."
        ) from error
    return made


def _check(network: nn.Module, spec: str, heads: int, size: int) -> None:
    """Refuse a network that does not answer n x k for two pictures."""
    was = network.training
    try:
        with torch.no_grad():
            answer = network.eval()(torch.zeros(2, 1, size, size))
    # Foreign code raises anything.
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise RetrainError(
            f"A network takes n x 1 x {size} x {size}; '{spec}' raised {type(error).__name__}: "
            f"{text}. Give the size it takes."
        ) from error
    finally:
        network.train(was)
    shape = tuple(getattr(answer, "shape", ()))
    if shape != (2, heads):
        raise RetrainError(
            f"A network answers n x {heads} logits; '{spec}' gave {shape or type(answer).__name__} "
            "for two pictures. Return one logit per head."
        )
