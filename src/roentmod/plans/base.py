"""The base of all plans: frozen values, checked as a whole, refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from roentmod.domain import NO_FINDING, finding
from roentmod.errors import EditError, RoentModError

__all__ = [
    "WHOLE",
    "Findings",
    "Form",
    "Listed",
    "Pairs",
    "Plan",
    "Seeds",
    "different",
    "line",
    "located",
    "marks",
    "parameter",
    "rule",
]

P = TypeVar("P", bound="Plan")
# How a command line writes several values: "a,b", an option given again, or their number.
Form = Literal["commas", "repeat", "count"]
# A bound above is for the machine, not for people.
_ANY = 2**62
# Context of a validation that words errors itself, with the place in a file.
WHOLE = "whole"


def parameter(
    default: Any = ...,
    description: str = "",
    *,
    option: str | None = None,
    form: Form | None = None,
    young: bool = False,
    hidden: bool = False,
    optional: bool = False,
    **constraints: Any,
) -> Any:
    """Return a field of a plan.

    Args:
        default: none where it must be given.
        description: a sentence.
        option: the command line's name of it, without dashes, where it has another.
        form: how the command line writes several values.
        young: left out of records while it has its default: older runs did not know it.
        hidden: no option of the command line.
        optional: a command may leave it out; the verb finds it.
        constraints: ge, gt, le, lt and others of `pydantic.Field`.
    """
    marks = {"option": option, "form": form, "young": young, "hidden": hidden, "optional": optional}
    extra: Any = {name: value for name, value in marks.items() if value}
    return Field(default, description=description, json_schema_extra=extra or None, **constraints)


class Plan(BaseModel):
    """Values that are checked together and never change; given by keyword.

    Attributes:
        error: raised, in one line, where values cannot be used.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )
    error: ClassVar[type[RoentModError]] = RoentModError

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(
        cls, values: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Turn the first of pydantic's complaints into the package's error."""
        if info.context == WHOLE:
            return handler(values)
        try:
            return handler(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise cls._owner(first).error(line(first, cls)) from error

    @classmethod
    def _owner(cls, problem: ErrorDetails) -> type[Plan]:
        """Return the plan that states the field in question first."""
        name = problem["loc"][0] if problem["loc"] else ""
        plans = [one for one in cls.__mro__ if issubclass(one, Plan) and one is not Plan]
        return next((one for one in reversed(plans) if name in one.model_fields), cls)

    def but(self: P, **changes: Any) -> P:
        """Return the same plan with other values, checked again."""
        return type(self)(
            **{name: getattr(self, name) for name in type(self).model_fields} | changes
        )

    def part(self, kind: type[P]) -> P:
        """Return the part of this plan that is a `kind`."""
        return kind(**{name: getattr(self, name) for name in kind.model_fields})

    def facts(self) -> dict[str, Any]:
        """Return what records hold of the plan, ready for JSON."""
        fields = type(self).model_fields.items()
        young = {n for n, f in fields if marks(f).get("young") and getattr(self, n) == f.default}
        return self.model_dump(mode="json", by_alias=True, exclude=young)


def marks(field: FieldInfo) -> dict[str, Any]:
    """Return what `parameter` says of a field besides pydantic's own words."""
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def rule(field: FieldInfo) -> str:
    """Return a field's bounds in words, such as "in (0, 1]" or "1 or more"; "" without any."""
    bound = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(item, name, None) is not None
    }
    low, high = bound.get("ge", bound.get("gt")), bound.get("le", bound.get("lt"))
    if low is None or (high is not None and high > _ANY):
        return ""
    if high is None:
        return f"{low:g} or more" if "ge" in bound else f"above {low:g}"
    if isinstance(low, int) and isinstance(high, int) and bound.keys() == {"ge", "le"} and high > 1:
        return f"{low} to {high:,}"
    left, right = "[" if "ge" in bound else "(", "]" if "le" in bound else ")"
    return f"in {left}{low:g}, {high:g}{right}"


def line(problem: ErrorDetails, kind: type[Plan], place: str = "") -> str:
    """Return one complaint of pydantic's as the rule, what was got, and what to do.

    Args:
        problem: the complaint.
        kind: the plan that was to be made.
        place: of the value in a file.
    """
    name = ".".join(str(part) for part in problem["loc"])
    got = " ".join(str(problem["input"]).split())
    before = f"{place}: " if place else ""
    match problem["type"]:
        case "extra_forbidden":
            known = ", ".join(kind.model_fields)
            return f"{place or kind.__name__} takes {known}; got '{name}'. Correct it."
        case "missing":
            return f"{before}{name or 'a value'} is needed; got none. Give it."
        case "literal_error":
            allowed = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            return f"{before}{name} is one of {allowed}; got '{got}'."
    field = kind.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
    if field is not None and rule(field) and problem["type"].startswith(("greater", "less")):
        return f"{before}{name} must be {rule(field)}; got {got}."
    return f"{before}{name}: {problem['msg'].lower()}; got '{got}'. Correct it."


def located(problem: ErrorDetails, kind: type[Plan]) -> str:
    """Return one complaint of pydantic's about a plan of plans, with the place of the inner one."""
    loc = list(problem["loc"])
    places: list[str] = []
    while len(loc) > 1:
        fields = kind.model_fields.items()
        field = next((f for n, f in fields if loc[0] in (n, f.alias)), None)
        inner = None if field is None else _plan_in(field.annotation)
        if field is None or inner is None:
            break
        depth = 2 if getattr(field.annotation, "__origin__", None) is dict else 1
        places += map(str, loc[:depth])
        loc, kind = loc[depth:], inner
    return line({**problem, "loc": tuple(loc)}, kind, ".".join(places))


def _plan_in(annotation: Any) -> type[Plan] | None:
    """Return the plan that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, Plan):
        return annotation
    inner = (_plan_in(part) for part in get_args(annotation))
    return next((one for one in inner if one is not None), None)


def different(names: Iterable[str], error: type[RoentModError], what: str) -> tuple[str, ...]:
    """Return canonical names of one or more different findings, No Finding not among them.

    Args:
        names: names or aliases.
        error: raised where they are not.
        what: begins its message, such as "An audit adds".

    Raises:
        UnknownFindingError: a finding that is not in the catalogue.
    """
    canonical = tuple(finding(name).name for name in names)
    if not canonical or len(set(canonical)) < len(canonical) or NO_FINDING.name in canonical:
        shown = f"'{', '.join(canonical)}'" if canonical else "none"
        raise error(
            f"{what} one or more different findings; got {shown}. Name each once, and not "
            f"{NO_FINDING.name}."
        )
    return canonical


def _commas(value: Any) -> Any:
    """Return the parts of "a,b"; anything else as it is."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _canonical(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(finding(name).name for name in names)


def _pairs(value: Any) -> Any:
    """Return pairs, each written "Cause>Read" or as two names."""
    if not isinstance(value, Sequence):
        return value
    parts = [value] if isinstance(value, str) else value
    return tuple(_pair(part) if isinstance(part, str) else part for part in parts)


def _pair(text: str) -> tuple[str, ...]:
    cause, arrow, read = text.partition(">")
    if not arrow:
        raise EditError(f"--pair is 'Cause>Read', as 'Edema>Cardiomegaly'; got '{text}'.")
    return cause.strip(), read.strip()


def _canonical_pairs(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((finding(cause).name, finding(read).name) for cause, read in pairs)


def _count(value: Any) -> Any:
    """Return the first `value` seeds; anything but a number as it is."""
    return tuple(range(value)) if type(value) is int else value


def _listed(value: Any) -> Any:
    """Return one text as the only one of a list, nothing as none."""
    return (value,) if isinstance(value, str) else () if value is None else value


Commas = BeforeValidator(_commas)
Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Findings = Annotated[tuple[str, ...], Commas, AfterValidator(_canonical)]
Pairs = Annotated[
    tuple[tuple[str, str], ...], BeforeValidator(_pairs), AfterValidator(_canonical_pairs)
]
Seeds = Annotated[tuple[int, ...], BeforeValidator(_count)]
