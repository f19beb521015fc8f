"""Text of ours, and tables, from a file: what a page says, without the numbers in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
from markupsafe import Markup, escape

from roentmod.report.page import Section
from roentmod.report.tables import Cell, Column, Table, ranged, table, text, value
from roentmod.report.words import Form, Row, decimals, p_value, percent, readable, records

__all__ = ["Texts", "listed", "prose"]

_FORMS: dict[str, Form] = {"count": decimals(0), "share": percent, "p": p_value}
_FORMS |= {f"number{n}": decimals(n) for n in range(5)}
_FORMS |= {f"signed{n}": decimals(n, sign=True) for n in range(5)}


class Texts:
    """The texts and tables of a page, from a file in which a line "# NAME [STYLE]" begins each.

    A text is written as `prose` says. A table has the style "table": a line with its caption; lines
    of columns, ``LABEL = FORM KEY [LOW HIGH]`` between "|"; and, where it has them, a line "Empty:"
    (what stands there without rows) and a line "Note:". A form is "text", "long" (text that may be
    long), "count", "share", "p", "number2" (any digit), "signed2", or "@NAME KIND" for a cell that
    is given to `table`.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the file."""
        parts = re.split(r"^# (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        self._by_name = {
            head.partition(" ")[0]: (body.strip("\n"), head.partition(" ")[2])
            for head, body in zip(parts[::2], parts[1::2], strict=True)
        }

    def __call__(self, name: str, /, **values: object) -> Markup:
        """Return one text with values in it."""
        return prose(*self._by_name[name], **values)

    def section(self, name: str, /, **values: object) -> Section:
        """Return one text as the section of that name."""
        return Section(name.title(), (self(name, **values),), id=name)

    def table(
        self,
        name: str,
        rows: Iterable[Row] | pd.DataFrame,
        *more: Column,
        empty: str = "",
        note: str = "",
        caption: str = "",
        **cells: Callable[[Row], Cell],
    ) -> Table:
        """Return one table.

        Args:
            name: which.
            rows: its rows.
            more: columns besides those of the file, at the right.
            empty: a more precise reason why it has no rows.
            note: what stands below it, if not what the file says.
            caption: what it shows, if not what the file says.
            cells: what the columns "@NAME" show of a row.
        """
        first, *lines = self._by_name[name][0].splitlines()
        notes = {"Empty": "", "Note": ""}
        columns = []
        for line in lines:
            word, _, rest = line.partition(": ")
            if word in notes:
                notes[word] = rest
            else:
                columns += [_column(spec.strip(), cells) for spec in line.split("|")]
        found = records(rows) if isinstance(rows, pd.DataFrame) else rows
        ends = (empty or notes["Empty"], note or notes["Note"])
        return table(caption or first, [*columns, *more], found, *ends)


def _column(spec: str, cells: Mapping[str, Callable[[Row], Cell]]) -> Column:
    label, _, rest = spec.partition(" = ")
    form, *keys = rest.split()
    if form.startswith("@"):
        return Column(label, cells[form[1:]], *keys)
    if form in ("text", "long"):
        return text(label, keys[0], form)
    if len(keys) == 1:
        return value(label, keys[0], _FORMS[form])
    key, low, high = keys
    return ranged(label, key, low, high, _FORMS[form])


def prose(text: str, style: str = "", /, **values: object) -> Markup:
    """Return text of ours as HTML, with values from anywhere in it.

    Args:
        text: blocks between empty lines: paragraphs, "### " headings, "- " and "1. " lists, and
            code indented by four spaces; `**strong**`, `*emphasis*`, `[text](#id)` and `{name}`.
        style: class of its paragraphs: "note", "faint", "absent", "sentence", "warning", "name".
        values: what stands for `{name}`: escaped, unless it is `Markup`.
    """
    html = "\n".join(_block(block, style) for block in re.split(r"\n\s*\n", text.strip("\n")))
    shown = {k: v if isinstance(v, Markup) else readable(v) for k, v in values.items()}
    return Markup(html).format(**shown)  # nosec # Markup escapes what it formats


def listed(items: Iterable[str]) -> Markup:
    """Return texts from anywhere as a list."""
    return Markup("<ul>\n{}\n</ul>").format(
        Markup("\n").join(Markup("<li>{}</li>").format(readable(item)) for item in items)
    )


def _block(text: str, style: str) -> str:
    if text.startswith("    "):
        return f"<pre><code>{escape(text.strip())}</code></pre>"
    if text.startswith("### "):
        return f"<h3>{_inline(text[4:])}</h3>"
    for mark, tag in (("- ", "<ul>\n"), (r"\d+\. ", '<ol class="references">\n')):
        if re.match(mark, text):
            items = re.split(rf"^{mark}", text, flags=re.MULTILINE)[1:]
            listed = "\n".join(f"<li>{_inline(item)}</li>" for item in items)
            return f"{tag}{listed}\n</{tag[1:3]}>"
    return f'<p class="{style}">{_inline(text)}</p>' if style else f"<p>{_inline(text)}</p>"


def _inline(text: str) -> str:
    html = str(escape(" ".join(text.split())))
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html)
    html = re.sub(r"\*(.+?)\*", r"<em>\1</em>", html)
    return re.sub(r"\[([^]]+)\]\((#[\w-]+)\)", r'<a href="\2">\1</a>', html)
