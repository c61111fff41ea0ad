"""Tables and bars at any width: nothing is cut, and what does not fit goes elsewhere."""

import io

import pytest
from rich.console import Console

from gh_tools.progress_bar import FittedBar
from gh_tools.tables import aligned, counted, layout, numeric

COLUMNS = ["", "mean", "sd", "94 % HDI", "unit", "P(> 0)", "R-hat", "ESS bulk", "ESS tail"]
ROWS = [
    [
        "se_vacancy_density",
        "1.234e-14",
        "1.3e-15",
        "9.7e-15 … 1.5e-14",
        "1/cm^2",
        "1.000",
        "1.001",
        "47556",
        "23804",
    ],
    ["sigma", "2.1", "0.4", "1.2 … 3.0", "eV", "", "1.000", "512", "498"],
]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_all_cells_stand_whole_in_lines_that_fit(width):
    text = aligned(ROWS, COLUMNS, width)
    assert max(map(len, text.splitlines())) <= width
    for row in ROWS:
        lines = [line for line in text.splitlines() if line.startswith(row[0])]
        for cell in row:
            assert any(cell in line for line in lines), (width, cell)
    assert [text.count(f" {name}") > 0 for name in COLUMNS[1:]] == [True] * 8


def test_without_a_width_a_row_is_a_line():
    lines = aligned(ROWS, COLUMNS).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert lines[2].split() == " ".join(ROWS[0]).split()


def test_numbers_are_aligned_on_the_right_and_words_on_the_left():
    lines = aligned(
        [["a", "1.5", "x"], ["b", "-20", "longer"]], ["", "number", "word"]
    ).splitlines()
    assert lines[2] == "a     1.5  x"
    assert lines[3] == "b     -20  longer"
    assert numeric(["1e-3", "-", ""]) and not numeric(["1 eV", "2"]) and not numeric(["", ""])


def test_cells_are_no_markup():
    assert "[red]x[/]" in aligned([["[red]x[/]", "1"]], ["[bold]", "n"])


def bar_at(width, texts=(), counted=True):
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None)
    bar = FittedBar(console, "annealing hfo2-wse2", 100_000, counted)
    bar.tell(45_123, "17.3/s", texts)
    console.print(bar.make_tasks_table(bar.tasks))
    return screen.getvalue().rstrip("\n")


TEXTS = ("epoch 123, 3.2/s", "H MAE 0.386 meV", "eigenvalues 12.7 meV", "on-site 7.2 meV")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 160])
@pytest.mark.parametrize("texts", [(), TEXTS])
def test_a_bar_leaves_out_and_cuts_nothing(width, texts):
    line = bar_at(width, texts)
    assert "\n" not in line and len(line) <= width
    assert "…" not in line and line.startswith("annealing hfo2-wse2")
    words = ("17.3/s", "45123/100000", "ETA", *texts)
    shown = [word in line for word in words]
    if width >= 80:
        assert all(shown[:3])
    if width == 160:
        assert all(shown)
    # Texts go from the last one on.
    assert shown[3:] == sorted(shown[3:], reverse=True)


def test_a_budget_shows_metrics_in_80_columns():
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    bar = FittedBar(console, "training", 110, False)
    bar.tell(45, "", TEXTS)
    console.print(bar.make_tasks_table(bar.tasks))
    for text in TEXTS[:3]:
        assert text in screen.getvalue()


def test_a_table_of_one_column_is_one():
    console = Console(file=io.StringIO(), width=80)
    assert len(layout(console, [["a"]], ["name"])) == 1


def test_one_is_singular():
    assert [counted(n, "structure") for n in (0, 1, 2)] == [
        "0 structures",
        "1 structure",
        "2 structures",
    ]
