"""Do the doors hold? Mutated pictures, configurations, tables and answers, counted.

``python -m bench.fuzz`` writes ``bench/fuzz.json``. Each door gets inputs that are nearly right:
real files with bytes changed, cut, repeated or inserted, and documents with one value exchanged.
An input is read, or refused by an error of the package in one printable line; anything else is a
traceback. A process works for each door, watched from outside: an input that takes longer than
20 s counts as a hang and ends it. Memory is what the process grew by. The same seed tries the same.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import multiprocessing as mp
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
import pydicom.data
import yaml
from PIL import Image

import roentmod
from bench import hostile
from roentmod import classifiers, datasets, domain, imaging
from roentmod.classifiers.card import json_object, make_card
from roentmod.datasets.phantom import phantom
from roentmod.documents import read_document
from roentmod.domain import FINDINGS
from roentmod.errors import RoentModError
from roentmod.jobs import augment
from roentmod.jobs.augment.matrix import DEFAULT, load_cooccurrence
from roentmod.jobs.study.spec import read as read_study
from roentmod.store import write_json

JSON = Path("bench/fuzz.json")
HANG_S, MOST_MB = 20, 1000
# Larger seeds are slow to copy and say nothing that small ones do not.
_LARGEST_SEED = 300_000
_PACKAGE = Path(roentmod.__file__).parent
# What would tell a chest radiograph from what it was.
_OTHERWISE = (
    "SOPClassUID", "ImageOrientationPatient", "PatientOrientation", "StudyDescription",
    "SeriesDescription", "ProtocolName",
)  # fmt: skip
_NUMBERS = (0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1)
_STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1e308, 0.5, "", "x" * 100_000, "\x1b[31m\n\u202e", "../../x", [], {},
    [[]], {"a": {"b": []}}, "{0.__class__}", "9" * 400, "python:os.system", "\ud800",
)  # fmt: skip


Seeds = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Door:
    """A way in.

    Attributes:
        tried: how many inputs by default.
        seeds: returns sound inputs, by the file's name.
        open: reads a file; raises an error of the package where it refuses.
        whole: files stay documents, in which values are exchanged; no byte is.
    """

    tried: int
    seeds: Callable[[], Mapping[str, bytes]]
    open: Callable[[Path], object]
    whole: bool = False


def mutated(data: bytes, name: str, rng: random.Random, *, whole: bool = False) -> bytes:
    """Return an input that is nearly right: a document with other values, or (not whole) bytes."""
    if Path(name).suffix in _DUMPED and (whole or rng.random() < 0.7):
        return _exchanged(data, name, rng)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # Headers come first: half of the changes are there.
        at = rng.randrange(max(1, min(len(out), 2048) if rng.random() < 0.5 else len(out)))
        match rng.randrange(6):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                size = rng.choice((2, 4))
                number = rng.choice(_NUMBERS).to_bytes(4, rng.choice(("little", "big")))
                out[at : at + size] = number[-size:]
            case 2:
                del out[at:]
            case 3:
                del out[at : at + rng.randrange(1, 64)]
            case 4:
                out[at:at] = out[at : at + rng.randrange(1, 256)] * rng.randrange(1, 8)
            case _:
                out[at:at] = rng.randbytes(rng.randrange(1, 32))
    return bytes(out)


def _exchanged(data: bytes, name: str, rng: random.Random) -> bytes:
    """Return a document in which a value or a key is another."""
    content = copy.deepcopy(_LOADED[Path(name).suffix](data))
    places = list(_places(content))
    for _ in range(rng.choice((1, 1, 2))):
        where, key = rng.choice(places)
        if isinstance(where, dict) and rng.random() < 0.2:
            where[rng.choice(("strange", "", "__class__"))] = where.get(key)
        elif rng.random() < 0.15:
            with contextlib.suppress(KeyError, IndexError):
                del where[key]
        else:
            with contextlib.suppress(IndexError):
                where[key] = rng.choice(_STRANGE)
    return _DUMPED[Path(name).suffix](content)


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(content, (dict, list)):
        keys = content if isinstance(content, dict) else range(len(content))
        for key in list(keys):
            yield content, key
            yield from _places(content[key])


_LOADED: dict[str, Callable[[bytes], Any]] = {
    ".json": json.loads,
    ".yaml": yaml.safe_load,
}
_DUMPED: dict[str, Callable[[Any], bytes]] = {
    ".json": lambda content: json.dumps(content).encode("utf-8", "replace"),
    ".yaml": lambda content: yaml.safe_dump(content).encode("utf-8", "replace"),
}


def _as_chest(data: bytes) -> bytes:
    """Return a DICOM file that says it is a chest radiograph, so that its pixels are decoded."""
    header = pydicom.dcmread(io.BytesIO(data), force=True)
    header.Modality, header.BodyPartExamined, header.ViewPosition = "CR", "CHEST", "PA"
    for keyword in _OTHERWISE:
        header.pop(keyword, None)
    file = io.BytesIO()
    header.save_as(file)
    return file.getvalue()


def _pictures() -> dict[str, bytes]:
    # Not pydicom's own list, which would download what is missing.
    places = [Path(p.__file__).parent for p in (pydicom.data, data_store)]
    files = [file for place in places for file in sorted(place.glob("*/*.dcm"))]
    seeds = {file.name: file.read_bytes() for file in files if file.stat().st_size < _LARGEST_SEED}
    for name, data in list(seeds.items()):
        # A few are too damaged to be written again.
        with contextlib.suppress(Exception):
            seeds[f"chest_{name}"] = _as_chest(data)
    tones = (phantom(1).radiograph.pixels[::2, ::2] * 255).astype(np.uint8)
    wide = Image.fromarray(tones.astype(np.uint16) << 8)
    for name, image, options in (
        ("a.png", Image.fromarray(tones), {}),
        ("b.png", wide, {}),
        ("a.jpg", Image.fromarray(tones), {}),
        ("a.tif", Image.fromarray(tones), {"compression": "tiff_adobe_deflate"}),
        ("b.tif", wide, {}),
    ):
        file = io.BytesIO()
        image.save(file, {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[name[2:]], **options)
        seeds[name] = file.getvalue()
    return seeds


def _index() -> dict[str, bytes]:
    text = "path,labels,view,patient_id,age,sex,split\n"
    text += "".join(f"{n}.png,Edema|Mass,PA,p{n},5{n},F,train\n" for n in range(4))
    return {"index.csv": text.encode()}


def _manifest() -> dict[str, bytes]:
    rows = [
        dict.fromkeys(augment.manifest.COLUMNS, "")
        | {"image_id": f"a{n}", "path": f"a{n}.png", "status": "ok", "arm": "sham", "Edema": 0.0}
        for n in range(3)
    ]
    file = io.BytesIO()
    augment.manifest.tabled([row | {"age": 5.0, "net_logit": 1.0} for row in rows]).to_parquet(file)
    return {"manifest.parquet": file.getvalue()}


_CARD = {"labels": ["Effusion", "Edema"], "size": 64, "range": [0, 1], "mean": [0.5], "std": [0.2],
         "outputs": "logits"}  # fmt: skip


def _run(path: Path) -> object:
    path.with_name("index.csv").write_text("path\n")
    return roentmod.open(path.parent)


def _checked(path: Path) -> object:
    for number in range(3):
        path.with_name(f"a{number}.png").touch()
    return augment.check(path)


def _records() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        roentmod.plant("phantoms:2:96", findings=["Edema"], out=place, prevalence=0.9)
        return {"planted.json": (Path(place) / "planted.json").read_bytes()}


def _answers() -> dict[str, bytes]:
    return {f"{name}.json": json.dumps(one).encode() for name, one in hostile.SEEDS.items()}


def _answered(path: Path) -> object:
    """Read one picture by an endpoint that answers as the file tells it to."""
    server = _server()
    server.answer = json.loads(path.read_bytes())
    words: dict[str, Any] = {"timeout": 1, "retries": 1, "backoff": 0}
    words["headers"] = {"X-Token": "sesame-token"}
    model = classifiers.load(server.url, **words)
    return model.logits(np.zeros((1, 64, 64), np.float32))


@lru_cache(maxsize=1)
def _server() -> hostile.Server:
    return hostile.Server()


DOORS: dict[str, Door] = {
    "pictures": Door(20_000, _pictures, imaging.read),
    "domain packs": Door(
        400, lambda: {f.name: f.read_bytes() for f in domain.BUNDLED.values()}, domain.load
    ),
    "studies": Door(400, lambda: {"s.yaml": Path("examples/study.yaml").read_bytes()}, read_study),
    "cards": Door(
        400,
        lambda: {"a.json": json.dumps(_CARD).encode()},
        lambda path: make_card(json_object(path), where="the card"),
    ),
    "profiles": Door(
        400,
        lambda: {"profile.json": (_PACKAGE / "editors/mini/profile.json").read_bytes()},
        lambda path: domain.check_profile("mini", _rest(path), [f.name for f in FINDINGS]),
    ),
    "matrices": Door(200, lambda: {"a.json": DEFAULT.read_bytes()}, load_cooccurrence),
    "tables": Door(400, _index, lambda path: datasets.load(path.parent, check_files=False)),
    "manifests": Door(200, _manifest, _checked),
    "runs": Door(200, _records, _run),
    "endpoint": Door(200, _answers, _answered, whole=True),
}


def _rest(path: Path) -> dict[str, Any]:
    return {k: v for k, v in read_document(path).items() if k not in ("name", "domain")}


def main() -> None:
    """Try all doors, or those named, whose results replace theirs in the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("doors", nargs="*", help=", ".join(DOORS))
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs that are tried")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=JSON)
    args = parser.parse_args()
    results = _earlier(args.out, args.seed) if args.doors else {}
    doors = args.doors or list(DOORS)
    for name in doors:
        results[name] = tried(name, max(1, round(DOORS[name].tried * args.share)), args.seed)
        print(name, results[name], flush=True)
    write_json(args.out, {"door": results, "seed": args.seed})
    bad = [name for name in doors if not _holds(results[name])]
    sys.exit(f"These doors do not hold: {', '.join(bad)}." if bad else 0)


def _earlier(path: Path, seed: int) -> dict[str, dict[str, int]]:
    """Return what a file says of doors that were tried with the same seed."""
    record = read_document(path) if path.exists() else {}
    return dict(record["door"]) if record.get("seed") == seed else {}


def _holds(result: Mapping[str, int]) -> bool:
    return not result["tracebacks"] and not result["hangs"] and result["peak_mb"] < MOST_MB


def tried(name: str, count: int, seed: int) -> dict[str, int]:
    """Return what became of `count` inputs of a door: read, refused, tracebacks, hangs, peak."""
    counts: Counter[str] = Counter()
    seeds = sorted(DOORS[name].seeds().items())
    peak = at = 0
    while at < count:
        ours, theirs = mp.Pipe()
        worker = mp.get_context("fork").Process(
            target=_work, args=(name, seeds, at, count, seed, theirs)
        )
        worker.start()
        theirs.close()
        fault = ""
        while not fault and at < count:
            try:
                fault = "" if ours.poll(HANG_S) else "hangs"
                outcome, grown = ("hangs", 0) if fault else ours.recv()
            # A crash of the process is worse than an error of it.
            except EOFError:
                fault, outcome, grown = "ends the process", "tracebacks", 0
            if fault:
                print(f"{name}: input {at} {fault}", file=sys.stderr)
            counts[outcome] += 1
            peak = max(peak, grown)
            at += 1
        worker.kill()
        worker.join()
    kinds = ("read", "refused", "tracebacks", "hangs")
    return {"tried": count, **{kind: counts[kind] for kind in kinds}, "peak_mb": peak}


def _work(name: str, seeds: Seeds, first: int, count: int, seed: int, pipe: Any) -> None:
    warnings.simplefilter("ignore")
    door = DOORS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as place:
        sound = [one for one in seeds if _is_read(door, _placed(Path(place), *one))]
        for number in range(first, count):
            rng = random.Random(f"{seed} {name} {number}")
            # What is read as it is leads further in.
            file, data = rng.choice(sound if sound and rng.random() < 0.8 else seeds)
            path = _placed(Path(place), file, mutated(data, file, rng, whole=door.whole))
            result = _outcome(door, path, f"{name}: input {number} of {file}")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            pipe.send((result, grown // 1024))


def _placed(folder: Path, name: str, data: bytes) -> Path:
    path = folder / "in" / name
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    path.write_bytes(data)
    return path


def _is_read(door: Door, path: Path) -> bool:
    try:
        door.open(path)
    except Exception:
        return False
    return True


def _outcome(door: Door, path: Path, title: str) -> str:
    try:
        door.open(path)
    except RoentModError as error:
        if str(error).isprintable():
            return "refused"
        print(f"{title} has a message of several lines: {error!r}", file=sys.stderr)
    except BaseException:
        print(f"{title}\n{traceback.format_exc(limit=-4)}", file=sys.stderr)
    else:
        return "read"
    return "tracebacks"


if __name__ == "__main__":
    main()
