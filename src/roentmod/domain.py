"""Domain packs: what RoentMod has to know of one kind of picture, in one TOML file.

A pack names its findings and how to say them, what a DICOM file of its kind looks like, the grey
window it is shown in, how generators want to be prompted, and its judge. `docs/domains.md` says how
to write one. The pack ``cxr`` (chest radiographs) is always registered; others join it by
`register`, which must come before the catalogue of findings is first read as a whole: tables have
one column per finding.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, overload

from roentmod.documents import read_document
from roentmod.errors import EditError, InputError, UnknownFindingError

__all__ = [
    "BUNDLED",
    "FINDINGS",
    "NO_FINDING",
    "SCHEDULERS",
    "SEVERITIES",
    "UNSAID",
    "VIEWS",
    "Domain",
    "Finding",
    "Scheduler",
    "Severity",
    "catalogue",
    "check_profile",
    "finding",
    "key",
    "load",
    "named",
    "register",
    "registered",
    "words",
]

BUNDLED = {path.stem: path for path in sorted((Path(__file__).parent / "data/domains").glob("*"))}
VIEWS = ("frontal", "axial", "coronal", "sagittal")
Severity = Literal["mild", "moderate", "severe"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
# What tables by severity call an edit that has none.
UNSAID = "unsaid"
Scheduler = Literal["ddim", "dpmsolver++", "dpmsolver++-logsnr", "pndm"]
SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)
_GROUP = "roentmod.domains"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
# Commands and tables join names of findings with these.
_JOINTS = "+,|>=?\n"
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "a list": (list,),
    "a table": (dict,),
    "true or false": (bool,),
    "a whole number": (int,),
    "a number": (int, float),
}
_TABLES = {
    "pack": {
        "name": "text",
        "statement": "text",
        "anatomy": "text",
        "modalities": "a list",
        "captures": "a list",
        "body_parts": "a list",
        "views": "a list",
        "window": "text",
        "windows": "a table",
        "judge": "text",
        "findings": "a list",
        "profiles": "a table",
    },
    "finding": {
        "name": "text",
        "phrase": "text",
        "aliases": "a list",
        "sided": "true or false",
        "place": "text",
        "density": "text",
    },
    "window": {"centre": "a number", "width": "a number"},
    "profile": {
        "normal": "text",
        "template": "text",
        "size": "a whole number",
        "steps": "a whole number",
        "guidance_scale": "a number",
        "scheduler": "text",
        "licence": "text",
        "severity": "a table",
        "unsaid": "a table",
        "usual": "a table",
        "absent": "text",
        "guidance_range": "a list",
        "removal": "a table",
    },
}
_RANGES = {"size": (8, 4096), "steps": (1, 1000), "guidance_scale": (0, 100)}
_NEEDED = {
    "pack": ("name", "statement", "modalities", "views", "findings"),
    "finding": ("name", "phrase"),
    "window": ("centre", "width"),
    "profile": ("normal",),
}


@dataclass(frozen=True)
class Finding:
    """A canonical radiological label.

    Attributes:
        name: canonical name, as in reports ("Pleural Effusion").
        phrase: how a prompt says it ("pleural effusion").
        aliases: other spellings accepted on input, lower case.
        sided: whether left and right make sense.
        domain: the pack it belongs to; "" for all of them.
        place: the region where it usually lies, in the words of `roentmod.regions`; "" if unknown.
        density: "more" or "less", if it only adds density or only takes it away; "" if it does both
            or nobody said.
    """

    name: str
    phrase: str
    aliases: tuple[str, ...] = ()
    sided: bool = False
    domain: str = ""
    place: str = ""
    density: str = ""


# Of every domain: labels, selections and shams mean the same by it everywhere.
NO_FINDING = Finding("No Finding", "no finding", ("normal", "no findings", "no acute finding"))


@dataclass(frozen=True)
class Domain:
    """One kind of picture.

    Attributes:
        name: short name, as for ``--domain`` ("ct-slice").
        statement: what one picture is, for people ("CT slice").
        modalities: values of DICOM Modality that say so.
        views: of `VIEWS`, those taken.
        findings: its findings; "No Finding" belongs to all domains.
        captures: values of Modality taken too, unless another tag contradicts.
        body_parts: Body Part Examined, where given, names one of them; empty takes any.
        anatomy: "chest" where outlines, regions in words and phantoms fit; else "".
        window: the lowest and highest value shown, after the modality's rescale (HU in CT),
            whatever window the file brings; None leaves that to the file.
        profiles: prompt profile -> fields of `roentmod.prompts.Profile`.
        judge: form of the classifier that gates edits (as for ``--classifier``), or None.
    """

    name: str
    statement: str
    modalities: tuple[str, ...]
    views: tuple[str, ...]
    findings: tuple[Finding, ...]
    captures: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    anatomy: str = ""
    window: tuple[float, float] | None = None
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    judge: str | None = None

    def own(self, items: Iterable[Finding]) -> tuple[str, ...]:
        """Return canonical names of findings, after making sure that they are this domain's.

        Raises:
            EditError: one is another domain's.
        """
        names = []
        for item in items:
            if item.domain not in ("", self.name):
                known = ", ".join(own.name for own in self.findings)
                raise EditError(
                    f"Findings of the domain {self.name} are: {known}; got {item.name} of "
                    f"{item.domain}. Choose one of them, or the other domain."
                )
            names.append(item.name)
        return tuple(names)

    def need_chest(self, what: str) -> None:
        """Refuse what only works on chests.

        Raises:
            EditError: this domain's pictures are none.
        """
        if self.anatomy != "chest":
            raise EditError(
                f"{what} is made for chests; got the domain {self.name} ({self.statement}). "
                "Leave it out."
            )


def load(source: str | Path) -> Domain:
    """Read a pack: a bundled one by its name, one of the entry points, or a TOML file.

    Entry points of the group ``roentmod.domains`` are callables without arguments that return the
    file's path. A judge that is a file beside the TOML is found from anywhere.

    Raises:
        InputError: no such pack, no TOML, or something in it is missing, unknown or wrong.
    """
    file = BUNDLED.get(str(source)) or _installed(str(source)) or Path(source).expanduser()
    if not file.is_file():
        raise InputError(
            f"A domain is {', '.join(BUNDLED)}, an installed pack or a TOML file; got '{source}'. "
            "Check the name or the path."
        )
    try:
        return _domain(read_document(file), file.absolute().parent)
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from error


def _installed(name: str) -> Path | None:
    # Late: half of the time that importing this module would take.
    from importlib.metadata import entry_points

    return next((Path(p.load()()) for p in entry_points(group=_GROUP) if p.name == name), None)


def _domain(pack: Mapping[str, Any], folder: Path) -> Domain:
    _check("pack", pack, "the pack")
    name = pack["name"]
    if not _NAME.fullmatch(name):
        raise InputError(f"A pack's name is of a-z, 0-9, '.' and '-'; got '{name}'. Rename it.")
    views, anatomy = _texts(pack, "views"), pack.get("anatomy", "")
    if not views or not set(views) <= set(VIEWS):
        raise InputError(f"Views are of {', '.join(VIEWS)}; got '{', '.join(views)}'. Choose some.")
    if anatomy not in ("", "chest"):
        raise InputError(f"The only anatomy known is chest; got '{anatomy}'. Leave it out.")
    findings = _findings(pack["findings"], name)
    return Domain(
        name=name,
        statement=pack["statement"],
        modalities=tuple(code.upper() for code in _texts(pack, "modalities")),
        views=views,
        findings=findings,
        captures=tuple(code.upper() for code in _texts(pack, "captures")),
        body_parts=tuple(part.upper() for part in _texts(pack, "body_parts")),
        anatomy=anatomy,
        window=_window(pack),
        profiles=_profiles(pack.get("profiles", {}), findings),
        judge=_judge(pack.get("judge"), folder),
    )


def _check(kind: str, table: Any, where: str) -> None:
    """Refuse a table that lacks a key, has one it should not, or one of a wrong type."""
    known = _TABLES[kind]
    if not isinstance(table, Mapping):
        raise InputError(f"{where} must be a table; got {table!r}. Write it with its keys.")
    strange = [name for name in table if name not in known]
    lacking = [name for name in _NEEDED[kind] if name not in table]
    if strange or lacking:
        got = f"'{strange[0]}', which is none of them" if strange else f"no '{lacking[0]}'"
        raise InputError(f"{where} has the keys {', '.join(known)}; got {got}. Correct it.")
    for name, value in table.items():
        # type(), because TOML's true is an int in Python.
        if type(value) not in _TYPES[known[name]]:
            raise InputError(f"{where}: {name} is {known[name]}; got {value!r}. Correct it.")


def _texts(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = table.get(name, [])
    wrong = [value for value in values if not isinstance(value, str)]
    if wrong:
        raise InputError(f"{name} is a list of texts; got {wrong[0]!r} in it. Quote it.")
    return tuple(values)


def _findings(tables: Sequence[Any], domain: str) -> tuple[Finding, ...]:
    made = []
    for number, table in enumerate(tables, 1):
        _check("finding", table, f"finding {number}")
        name = table["name"].strip()
        if not name or any(sign in name for sign in _JOINTS):
            raise InputError(
                f"A finding's name has letters and none of {' '.join(_JOINTS.strip())}; got "
                f"'{name}'. Rename it."
            )
        aliases = tuple(alias.lower() for alias in _texts(table, "aliases"))
        sided, place = table.get("sided", False), table.get("place", "")
        density = table.get("density", "")
        if density not in ("", "more", "less"):
            raise InputError(f"{name}: density is more or less; got '{density}'. Correct it.")
        made.append(Finding(name, table["phrase"], aliases, sided, domain, place, density))
    if not made:
        raise InputError("A pack has one finding at least; got none. Add [[findings]].")
    return tuple(made)


def _window(pack: Mapping[str, Any]) -> tuple[float, float] | None:
    windows, chosen = pack.get("windows", {}), pack.get("window")
    for name, table in windows.items():
        _check("window", table, f"window {name}")
        if table["width"] <= 0:
            raise InputError(f"A window has a width above 0; got {table['width']} for {name}.")
    if chosen is None:
        return None
    if chosen not in windows:
        known = ", ".join(windows) or "none"
        raise InputError(f"window names one of the windows ({known}); got '{chosen}'. Add it.")
    centre, half = float(windows[chosen]["centre"]), windows[chosen]["width"] / 2
    return centre - half, centre + half


def _profiles(tables: Mapping[str, Any], findings: Sequence[Finding]) -> dict[str, dict[str, Any]]:
    for name, table in tables.items():
        check_profile(name, table, (item.name for item in findings))
    return {name: dict(table) for name, table in tables.items()}


def check_profile(name: str, profile: Mapping[str, Any], findings: Iterable[str]) -> None:
    """Refuse a profile that cannot be used.

    Args:
        name: of the profile.
        profile: its fields, all or some.
        findings: canonical names that may have entries in `severity` and `unsaid`.

    Raises:
        InputError: a field that no profile has, one of a wrong type or out of its range, or an
            unknown finding or severity.
    """
    _check("profile", {"normal": "", **profile}, f"profile {name}")
    _check_words(name, "A template", profile.get("template", "{impression}"), "impression")
    if profile.get("absent"):
        _check_words(name, "absent", profile["absent"], "finding")
    for word, (low, high) in _RANGES.items():
        if not low <= profile.get(word, low) <= high:
            raise InputError(
                f"{word} of a profile is {low} to {high}; got {profile[word]} for {name}. Correct "
                "it."
            )
    if profile.get("scheduler", SCHEDULERS[0]) not in SCHEDULERS:
        raise InputError(
            f"scheduler of a profile is one of {', '.join(SCHEDULERS)}; got "
            f"'{profile['scheduler']}' for {name}. Choose one."
        )
    scales = profile.get("guidance_range", [])
    numbers = [one for one in scales if type(one) in (int, float)]
    if scales and not (len(numbers) == len(scales) == 2 and 1 <= numbers[0] < numbers[1]):
        raise InputError(
            f"guidance_range of a profile is two numbers from 1 up, the second larger; got "
            f"{scales} for {name}. Correct it."
        )
    known = set(findings)
    _check_severity(name, profile, known)
    _check_usual(name, profile.get("usual", {}), known)


def _check_usual(name: str, usual: Mapping[str, Any], known: set[str]) -> None:
    for word, forms in usual.items():
        tables = list(forms.values()) if isinstance(forms, Mapping) else [None]
        weights: list[Any] = [
            w for t in tables for w in (t.values() if isinstance(t, Mapping) else [None])
        ]
        if (
            word not in known
            or not weights
            or any(type(w) not in (int, float) or not w > 0 for w in weights)
        ):
            raise InputError(
                "usual of a profile gives findings of the pack forms, these places, and these "
                f"numbers above 0; got {word} = {forms!r} for {name}. Correct it."
            )


def _check_words(name: str, what: str, words: str, blank: str) -> None:
    try:
        # Anything else than the bare word would reach into Python objects.
        parts = [part[1:] for part in string.Formatter().parse(words) if part[1] is not None]
    except ValueError:
        parts = []
    if not parts or set(parts) != {(blank, "", None)}:
        raise InputError(
            f"{what} says where the findings go, as {{{blank}}}, and has no other braces; got "
            f"'{words}' for {name}. Correct it."
        )


def _check_severity(name: str, profile: Mapping[str, Any], known: set[str]) -> None:
    factors, words = profile.get("severity", {}), profile.get("unsaid", {})
    own = {word: table for word, table in factors.items() if isinstance(table, Mapping)}
    strange = [word for word in (*own, *words) if word not in known]
    if strange:
        raise InputError(
            f"severity and unsaid of a profile name findings as the pack does; got '{strange[0]}' "
            f"for {name}. Correct it."
        )
    whole = {word: factor for word, factor in factors.items() if word not in own}
    for where, table in ((name, whole), *((f"{word}, {name}", own[word]) for word in own)):
        for word, factor in table.items():
            known_word = word in (*SEVERITIES, UNSAID)
            if not known_word or type(factor) not in (int, float) or not factor > 0:
                raise InputError(
                    f"severity of a profile has numbers above 0 for {', '.join(SEVERITIES)}, "
                    f"{UNSAID}, or such a table for a finding; got {word} = {factor!r} for "
                    f"{where}. Correct it."
                )
    for word, severity in words.items():
        if severity not in SEVERITIES:
            raise InputError(
                f"unsaid of a profile gives findings one of {', '.join(SEVERITIES)}; got "
                f"{severity!r} for {word}, {name}. Correct it."
            )


def _judge(form: str | None, folder: Path) -> str | None:
    """Return the form, with the path of a file beside the pack made absolute."""
    kind, colon, rest = (form or "").rpartition(":")
    return f"{kind}{colon}{folder / rest}" if rest and (folder / rest).exists() else form


class _Registry:
    """The packs of this process; it only grows, and what is in it never changes."""

    def __init__(self) -> None:
        self.packs: dict[str, Domain] = {}
        self.by_key = {key(word): NO_FINDING for word in _spellings(NO_FINDING)}
        self.read = False

    def add(self, pack: Domain) -> None:
        if self.packs.get(pack.name) == pack:
            return
        if self.read:
            raise InputError(
                "Domain packs are registered before data are loaded, as tables have one column per "
                f"finding; {pack.name} came after. Register it first."
            )
        if pack.name in self.packs:
            raise InputError(f"Packs have different names; another {pack.name} is registered.")
        taken = {name: other.name for other in self.packs.values() for name in other.profiles}
        for name in (name for name in pack.profiles if name in taken):
            raise InputError(f"Profile {name} of {pack.name} is {taken[name]}'s. Rename it.")
        added: dict[str, Finding] = {}
        for item in pack.findings:
            for word in _spellings(item):
                other = added.get(key(word), self.by_key.get(key(word), item))
                if other != item:
                    raise InputError(
                        f"A word means one finding; '{word}' of {item.name} ({pack.name}) already "
                        f"means {other.name} ({other.domain or 'every domain'}). Choose another."
                    )
                added[key(word)] = item
        self.packs[pack.name] = pack
        self.by_key |= added


def key(text: str) -> str:
    """Return a spelling without case, hyphens and underscores."""
    return " ".join(text.lower().replace("_", " ").replace("-", " ").split())


def _spellings(item: Finding) -> tuple[str, ...]:
    return item.name, item.phrase, *item.aliases


_REGISTRY = _Registry()


def register(pack: Domain) -> Domain:
    """Make a pack's findings and profiles known to this process, and return it.

    Registering an equal pack again does nothing.

    Raises:
        InputError: a word or profile of it is another pack's, or the catalogue was read already.
    """
    _REGISTRY.add(pack)
    return pack


def registered() -> tuple[Domain, ...]:
    """Return the registered packs, ``cxr`` first."""
    return tuple(_REGISTRY.packs.values())


def named(name: str) -> Domain | None:
    """Return the registered pack of that name, None where there is none."""
    return _REGISTRY.packs.get(name)


def words() -> Mapping[str, Finding]:
    """Return what each spelling means, by `key`."""
    return _REGISTRY.by_key


def catalogue() -> tuple[Finding, ...]:
    """Return "No Finding" and the findings of all packs; no pack can be registered after that."""
    _REGISTRY.read = True
    return (NO_FINDING, *(item for pack in registered() for item in pack.findings))


class _Catalogue(Sequence[Finding]):
    """The findings of all registered packs; reading any of it closes the registry."""

    def __len__(self) -> int:
        return len(catalogue())

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return catalogue()[index]


FINDINGS: Sequence[Finding] = _Catalogue()


def finding(name: str) -> Finding:
    """Return the finding that `name` (canonical, phrase or alias, any case) stands for.

    Raises:
        UnknownFindingError: no finding has that name; the message proposes the nearest.
    """
    known, spelling = words(), key(name)
    if spelling in known:
        return known[spelling]
    near = difflib.get_close_matches(spelling, known, n=1)
    hint = f"Did you mean '{known[near[0]].name}'?" if near else "Use --prompt for free text."
    names = ", ".join(dict.fromkeys(item.name for item in known.values()))
    raise UnknownFindingError(f"Findings are: {names}; got '{name}'. {hint}")


register(load("cxr"))
