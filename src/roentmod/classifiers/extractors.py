"""Features of places, by the name of what extracts them.

An extractor turns pictures into grids of feature vectors, which pFID compares: ``judge`` (bundled),
``inception`` (the weights of FID, through torch-fidelity, which torchmetrics uses too), ``xrv`` (a
TorchXRayVision DenseNet) and ``rad-dino`` (patch tokens of RAD-DINO). ``NAME:SOURCE`` names other
weights of the same kind. None downloads anything: weights must be there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.checks import check_images
from roentmod.classifiers.judge import Judge
from roentmod.errors import ClassifierError, MissingDependencyError, WeightsError
from roentmod.interfaces import Loaded, anchored
from roentmod.store import file_sha256

__all__ = ["EXTRACTORS", "Extractor", "load_extractor"]

Array = NDArray[np.float32]
_BATCH = 8
_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
_RAD_DINO = "microsoft/rad-dino"
_XRV = "densenet121-res224-nih"


class Extractor(Protocol):
    """Sees pictures place by place.

    Attributes:
        name: in reports.
        size: side in pixels of the square pictures it takes.
    """

    name: str
    size: int

    def grid(self, images: Array) -> Array:
        """Return features, n x h x w x d, of images, n x size x size float32 in [0, 1]."""
        ...


class _Torch(Loaded):
    """An extractor made of a function from n x 1 x size x size tensors to n x d x h x w."""

    def __init__(
        self, name: str, size: int, run: Callable[[Any], Any], files: Iterable[Path] = ()
    ) -> None:
        self.name, self.size, self._run = name, size, run
        self._files = {file.name: file_sha256(file) for file in files}

    def describe(self) -> dict[str, Any]:
        """Return name and hashes of files, for provenance."""
        return {"name": self.name, "files": self._files}

    def grid(self, images: Array) -> Array:
        """Return features, n x h x w x d, of images, n x size x size float32 in [0, 1].

        Raises:
            ClassifierError: another size, range or type.
        """
        import torch

        check_images(images, self.size)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH]))
                parts.append(self._run(batch[:, None]).permute(0, 2, 3, 1).float().numpy())
        if not parts:
            raise ClassifierError("An extractor needs at least one picture; got none.")
        return np.ascontiguousarray(np.concatenate(parts))


def load_extractor(spec: str = "judge") -> Extractor:
    """Return the extractor `spec`, NAME or NAME:SOURCE with a name of `EXTRACTORS`.

    SOURCE is a judge's folder, a weights file of torch-fidelity's Inception, the name of a
    TorchXRayVision model, or a folder or hub id of a DINOv2 model.

    Raises:
        ClassifierError: no such name.
        MissingDependencyError: its library is not installed.
        WeightsError: its weights are not here.
    """
    name, _, source = spec.partition(":")
    if name not in EXTRACTORS:
        raise ClassifierError(
            f"Extractors are {', '.join(EXTRACTORS)}, each with :SOURCE if wanted; got '{spec}'."
        )
    made = EXTRACTORS[name](source)
    if isinstance(made, Loaded):
        made.remember(load_extractor, f"{name}:{anchored(source)}" if source else name)
    return made


def _judge(source: str) -> Extractor:
    return Judge.load(Path(source).expanduser() if source else None)


def _library(module: str, install: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"This extractor needs {module}; importing it gave '{error}'. "
            f"Run: pip install '{install}', or use --extractor judge."
        ) from error


def _inception(source: str) -> Extractor:
    """The Inception of FID, 17 x 17 places of 768 features: the layer Mixed_6e."""
    module = _library("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity")
    import torch

    path = Path(source).expanduser() if source else Path(torch.hub.get_dir(), "checkpoints")
    path = path if source else path / _INCEPTION
    if not path.is_file():
        raise WeightsError(
            f"Inception's weights must be here; {path} is not. Put {_INCEPTION} of torch-fidelity "
            "there, or give inception:FILE."
        )
    model = module.FeatureExtractorInceptionV3(
        "inception", ["768"], feature_extractor_weights_path=str(path)
    ).eval()
    seen: list[Any] = []
    model.Mixed_6e.register_forward_hook(lambda _, __, output: seen.append(output))

    def run(batch: Any) -> Any:
        seen.clear()
        model((batch.expand(-1, 3, -1, -1) * 255).round().to(torch.uint8))
        return seen[-1]

    return _Torch("inception", 299, run, [path])


def _xrv(source: str) -> Extractor:
    """TorchXRayVision's DenseNet, 7 x 7 places of 1024 features."""
    library = _library("torchxrayvision", "roentmod[xrv]")
    try:
        model = library.models.DenseNet(weights=source or _XRV).eval()
    except Exception as error:  # a download that fails raises whatever its HTTP library does
        raise WeightsError(
            f"TorchXRayVision's weights '{source or _XRV}' must be loaded; that gave: {error}. "
            f"Use one of {', '.join(getattr(library.models, 'model_urls', {}))}."
        ) from error
    local = getattr(model, "weights_filename_local", None)
    files = [Path(local)] if local else []
    return _Torch("xrv", 224, lambda batch: model.features((batch * 2 - 1) * 1024), files)


def _rad_dino(source: str) -> Extractor:
    """RAD-DINO, one vector per patch of 14 pixels: 37 x 37 places of 768 features at 518 pixels."""
    transformers = _library("transformers", "transformers")
    name = str(Path(source).expanduser()) if source else _RAD_DINO
    try:
        model = transformers.AutoModel.from_pretrained(
            name, local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
        config = model.config
        patch, size = int(config.patch_size), int(config.image_size)
    except Exception as error:
        raise WeightsError(
            f"RAD-DINO's weights must be here; '{name}' gave {type(error).__name__}. Download "
            f"{_RAD_DINO} first, or give rad-dino:FOLDER."
        ) from error
    side = size // patch
    # The mean and deviation of its processor, alike in all three channels.
    mean, deviation = 0.5307, 0.2583

    def run(batch: Any) -> Any:
        pixels = ((batch - mean) / deviation).expand(-1, 3, -1, -1)
        tokens = model(pixel_values=pixels).last_hidden_state[:, 1:]
        return tokens.reshape(len(batch), side, side, -1).permute(0, 3, 1, 2)

    return _Torch("rad-dino", side * patch, run, sorted(Path(name).glob("*.[js]*")))


EXTRACTORS: dict[str, Callable[[str], Extractor]] = {
    "judge": _judge,
    "inception": _inception,
    "xrv": _xrv,
    "rad-dino": _rad_dino,
}
