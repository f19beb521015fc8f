"""Files of a generator, as people have them: found, checked key by key, and read the safe way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers.utils import logging as diffusers_logging
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from roentmod.documents import read_document
from roentmod.errors import InputError, WeightsError

__all__ = [
    "BUNDLED",
    "Loader",
    "Source",
    "check_keys",
    "fetched",
    "quiet",
    "quoted",
    "read_json",
    "resolve",
]

BUNDLED = {"mini": Path(__file__).parent / "mini"}
_TEXT_FOLDERS = ("text_encoder", "text_encoder_and_tokenizer")
_TOKENIZER_FOLDERS = ("tokenizer", "text_encoder_and_tokenizer")
# Classes published outside transformers: the class that holds their weights, and keys of theirs
# that text states do not need.
_SAME_WEIGHTS = {"CXRBertModel": ("BertModel", ("cls", "pooler."))}
_PATTERNS = ["*/*.json", "*/*.txt", "*.json", "*/*.safetensors", "*/*.model"]
_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<before>[\w-]+?))?"
    r"(?:-\d{5}-of-\d{5})?(?:\.(?P<after>[\w-]+))?\.(?:safetensors|bin)"
)
# Which variant is read where there are several: the most precise first.
_VARIANTS = ("", "fp32", "fp16", "bf16")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Names and letters of an error that a message quotes.
_NAMED, _QUOTED = 3, 300


@dataclass(frozen=True)
class Source:
    """A folder in the diffusers layout.

    Attributes:
        path: where it is.
        name: what people call it: its hub id, or the folder's name.
        place: how messages say where it is.
    """

    path: Path
    name: str
    place: str


def resolve(name: str | Path, *, allow_pickle: bool = False) -> Source:
    """Return the model called `name`: ``mini``, a folder, or a hub id.

    Raises:
        WeightsError: there is none.
    """
    if str(name) in BUNDLED:
        folder = BUNDLED[str(name)]
        if not (folder / "unet").is_dir():
            raise WeightsError(f"The bundled generator '{name}' is not in this installation.")
        return Source(folder, str(name), str(folder))
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder(path)
    looks_like_path = path.is_absolute() or str(name).startswith(".") or str(name).count("/") != 1
    if path.exists() or looks_like_path:
        raise WeightsError(
            f"A model is a diffusers folder, a .safetensors checkpoint, a hub id (owner/name) or "
            f"'mini'; got '{name}', which is no folder. Check the path."
        )
    patterns = [*_PATTERNS, "*/*.bin"] if allow_pickle else _PATTERNS
    return Source(fetched(str(name), patterns), str(name), str(name))


def _folder(path: Path) -> Source:
    """Return a folder; one that is called by a commit has the name that its metadata give."""
    if not _COMMIT.fullmatch(path.name):
        return Source(path, path.name or path.resolve().name, str(path))
    parts = path.absolute().parts
    name = parts[-3].removeprefix("models--").replace("--", "/") if len(parts) > 3 else path.name
    if not (parts[-2] == "snapshots" and parts[-3].startswith("models--")):
        index = path / "model_index.json"
        known = read_json(index).get("_name_or_path") if index.exists() else None
        name = Path(str(known)).name if known else path.parent.name
    return Source(path, name, name)


def fetched(name: str, patterns: list[str]) -> Path:
    """Return the folder of a hub id, with the files that match.

    Raises:
        WeightsError: it can be neither found nor reached.
    """
    from huggingface_hub import snapshot_download

    try:
        place = snapshot_download(name, allow_patterns=patterns)  # nosec B615 # weights are hashed
        return Path(place)
    except Exception as error:
        raise WeightsError(
            f"A hub id must be reachable or already downloaded; '{name}' gave "
            f"{type(error).__name__}. Download it to a folder and name that folder."
        ) from error


def read_json(path: Path, place: str = "") -> dict[str, Any]:
    """Return the content of a JSON file of a model; `place` names the model in messages.

    Raises:
        WeightsError: it is missing, or not one JSON object.
    """
    try:
        return read_document(path)
    except (OSError, InputError) as error:
        raise WeightsError(
            f"A diffusers folder has {path.parent.name}/{path.name}; it is missing or no JSON "
            f"object in '{place or path.parent.parent}'. Copy the whole model folder."
        ) from error


class Loader:
    """Loads parts the safe way and remembers which files they came from.

    Attributes:
        files: of weights.
        settings: everything else that results depend on: configurations and vocabularies.
    """

    def __init__(self, allow_pickle: bool, dtype: torch.dtype, device: str) -> None:
        """Read nothing yet.

        Raises:
            WeightsError: torch has no such device.
        """
        try:
            self.device = torch.empty(0, device=device).device
        except (AssertionError, NotImplementedError, RuntimeError) as error:
            raise WeightsError(
                f"A device is one that torch can use here, such as cpu or cuda; '{device}' gave: "
                f"{str(error).partition(chr(10))[0]}. Correct it, or install torch for it."
            ) from error
        self.allow_pickle = allow_pickle
        self.dtype = dtype
        self.files: list[Path] = []
        self.settings: list[Path] = []

    def diffusers(self, kind: Any, source: Source, part: str) -> Any:
        """Return a part as diffusers' class `kind`."""
        folder, where = self._part(source, (part,))
        config = read_json(folder / "config.json", source.place)
        declared = config.get("_class_name", kind.__name__)
        if declared != kind.__name__:
            raise WeightsError(f"The part '{part}' is a {kind.__name__}; {where} has a {declared}.")
        # Stated, because diffusers' own default depends on whether accelerate is installed.
        return self._guarded(folder, where, kind, (), low_cpu_mem_usage=False)

    def text_encoder(self, source: Source) -> Any:
        """Return the text encoder, as the class of transformers that it declares."""
        folder, where = self._part(source, _TEXT_FOLDERS)
        config = read_json(folder / "config.json", source.place)
        declared = "".join(map(str, config.get("architectures") or ["CLIPTextModel"]))
        name, spare = _SAME_WEIGHTS.get(declared, (declared, ()))
        kind = getattr(transformers, name, None)
        if kind is None:
            raise WeightsError(
                f"A text encoder must be a class of transformers; {where} declares '{declared}'. "
                "Convert it to the class it derives from."
            )
        return self._guarded(folder, where, kind, spare)

    def tokenizer(self, source: Source) -> Any:
        """Return the tokenizer."""
        root = source.path
        folder = next((root / n for n in _TOKENIZER_FOLDERS if (root / n).is_dir()), None)
        if folder is None:
            raise WeightsError(f"A generator has a tokenizer folder; '{source.place}' has none.")
        self._note(folder)
        try:
            return AutoTokenizer.from_pretrained(  # nosec B615 # a folder
                folder, local_files_only=True, trust_remote_code=False
            )
        # Its library raises plain exceptions, too.
        except Exception as error:
            raise WeightsError(
                f"The tokenizer in '{source.place}' cannot be read: {quoted(error)}"
            ) from error

    def scheduler(self, source: Source) -> dict[str, Any]:
        """Return the configuration of the schedule."""
        self._note(source.path / "scheduler")
        return read_json(source.path / "scheduler" / "scheduler_config.json", source.place)

    def _note(self, folder: Path) -> None:
        kept = (".json", ".txt", ".model")
        for path in sorted(folder.glob("*")):
            if path.suffix in kept and ".index." not in path.name and path not in self.settings:
                self.settings.append(path)

    def _part(self, source: Source, names: tuple[str, ...]) -> tuple[Path, str]:
        """Return the folder of a part, and how messages call it."""
        folder = next((source.path / n for n in names if (source.path / n).is_dir()), None)
        if folder is None:
            raise WeightsError(
                f"A diffusers folder has the part '{names[0]}'; '{source.place}' has not. "
                "Copy the whole model folder."
            )
        self._note(folder)
        return folder, f"'{source.place}/{folder.name}'"

    def _weights(self, folder: Path, where: str) -> tuple[list[Path], str]:
        """Return the weight files of a part to read, and their variant."""
        safe = _variants(folder.glob("*.safetensors"))
        pickled = _variants(folder.glob("*.bin"))
        if not safe and pickled and not self.allow_pickle:
            raise WeightsError(
                f"Weights must be safetensors, because pickles can run code; {where} has only "
                f"{next(iter(pickled.values()))[0].name}. Convert it, or pass --trust if you "
                "trust its source."
            )
        found = safe or pickled
        if not found:
            raise WeightsError(f"{where} has no weights (*.safetensors). Copy the whole folder.")
        variant = min(found, key=lambda v: (_VARIANTS.index(v) if v in _VARIANTS else 9, v))
        return found[variant], variant

    def _guarded(
        self, folder: Path, where: str, kind: Any, spare: tuple[str, ...], **options: Any
    ) -> Any:
        files, variant = self._weights(folder, where)
        try:
            with quiet():
                model, keys = kind.from_pretrained(
                    folder,
                    torch_dtype=self.dtype,
                    use_safetensors=files[0].suffix == ".safetensors",
                    variant=variant or None,
                    local_files_only=True,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                    **options,
                )
        except Exception as error:
            raise WeightsError(
                f"{where} cannot be loaded as {kind.__name__}: {type(error).__name__} "
                f"{quoted(error)}"
            ) from error
        check_keys(where, kind.__name__, keys, spare)
        self.files += files
        return self._placed(model)

    def _placed(self, model: Any) -> Any:
        """Return a model where it runs; kernels lie channels last on an accelerator.

        Raises:
            WeightsError: the device is full.
        """
        kept = torch.preserve_format if self.device.type == "cpu" else torch.channels_last
        try:
            with quiet():
                placed = model.to(device=self.device, dtype=self.dtype, memory_format=kept)
        except torch.OutOfMemoryError as error:
            raise WeightsError(
                f"{self.device} has no room for the model: {quoted(error)} Use --precision float16."
            ) from error
        return placed.eval().requires_grad_(False)


def check_keys(
    where: str, kind: str, keys: Mapping[str, Collection[Any]], spare: tuple[str, ...] = ()
) -> None:
    """Refuse weights that do not fill a model exactly.

    Args:
        where: the weights, for the message.
        kind: class of the model.
        keys: `missing_keys`, `unexpected_keys`, `mismatched_keys` of loading.
        spare: beginnings of keys that may be missing or too many.

    Raises:
        WeightsError: naming the keys.
    """
    faults = []
    for word in ("missing", "unexpected", "mismatched"):
        found = sorted({k if isinstance(k, str) else k[0] for k in keys[f"{word}_keys"]})
        names = [name for name in found if not (spare and name.startswith(spare))]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            faults.append(f"{word} {', '.join(names[:_NAMED])}{more}")
    if faults:
        raise WeightsError(
            f"Weights fill a model exactly; those of {where} as {kind} have {'; '.join(faults)}. "
            "Convert them to the diffusers layout."
        )


def _variants(paths: Iterator[Path]) -> dict[str, list[Path]]:
    """Return weight files by variant, "" that of plain names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        if match := _WEIGHTS.fullmatch(path.name):
            found.setdefault(match["before"] or match["after"] or "", []).append(path)
    return found


def quoted(error: Exception) -> str:
    """Return the beginning of another library's message."""
    return " ".join(str(error).split())[:_QUOTED]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence both libraries for a while: what they would log is checked, or raised."""
    loggers = (diffusers_logging, transformers_logging)
    levels = [one.get_verbosity() for one in loggers]
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    for one in loggers:
        one.set_verbosity(one.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
