"""Text of ours with values from anywhere, and tables from a file."""

import pytest

from roentmod.report.tables import Cell
from roentmod.report.texts import Texts, prose
from tests.report.pages import EVIL

FILE = """# lead note
**Bold** of {name}, see [there](#there).

# rows table
Rows of all
Name = text name | Count = count n | Effect = signed1 effect low high
Own = @own long
Empty: None.
Note: All.
"""


@pytest.fixture
def say(tmp_path):
    (tmp_path / "page.md").write_text(FILE)
    return Texts(tmp_path / "page.md")


def test_marks_are_of_the_text_and_not_of_its_values(say):
    html = say("lead", name=f"**x** {EVIL}")
    assert html.startswith('<p class="note"><strong>Bold</strong> of **x** &lt;script&gt;')
    assert '<a href="#there">there</a>' in html
    assert "\x00" not in html


def test_blocks():
    html = prose("### Head\n\n- a\n- *b*\n\n1. c\n2. d\n\n    {code}", code="x <y>")
    assert html.replace("\n", "") == (
        "<h3>Head</h3><ul><li>a</li><li><em>b</em></li></ul>"
        '<ol class="references"><li>c</li><li>d</li></ol><pre><code>x &lt;y&gt;</code></pre>'
    )


def test_a_table_has_the_columns_of_its_file(say):
    row = {"name": "a", "n": 3, "effect": 1.24, "low": 1.0, "high": 1.5}
    table = say.table("rows", [row], own=lambda row: Cell("mine"))
    assert table.caption == "Rows of all"
    assert [column.label for column in table.columns] == ["Name", "Count", "Effect", "Own"]
    assert [column.kind for column in table.columns] == ["text", "number", "number", "long"]
    assert [cell.text for cell in table.rows[0]] == ["a", "3", "+1.2", "mine"]
    assert table.rows[0][2].small == "+1.0 to +1.5"
    assert (table.empty, table.note) == ("None.", "All.")


def test_a_reason_of_the_run_stands_before_that_of_the_file(say):
    assert say.table("rows", [], empty="Not requested.", own=Cell).empty == "Not requested."
