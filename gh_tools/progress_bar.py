"""The bar that a terminal shows of long work: what does not fit its width is left out, not cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gh_tools.tables import natural_width

_WIDEST, _NARROWEST = 40, 8  # columns of the bar itself


class _Remaining(TimeRemainingColumn):
    """The time that is left, with a word to tell it from the time that has passed."""

    def render(self, task: Task) -> Text:
        return Text("ETA ").append_text(super().render(task))


class _Texts(ProgressColumn):
    """The first so many of a task's texts."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def render(self, task: Task) -> Text:
        return Text("  ".join(task.fields["texts"][: self.most]))


class FittedBar(Progress):
    """A bar of one task, with count, rate, times and texts, as many of them as fit the width.

    When it gets narrow, the bar goes, then texts from the last one on, then the time that has passed, the count, and the
    rate.
    """

    def __init__(self, console: Console, description: str, total: int | None, counted: bool):
        """Describe the task, of which nothing is done.

        Args:
            console: on which it is shown.
            description: what is being done.
            total: how many steps there are, if known.
            counted: whether the number of steps says something to a person.
        """
        self._terminal, self._counted = console, counted
        super().__init__(console=console, transient=True)
        self._task = self.add_task(description, total=total, rate="", texts=())

    def tell(self, done: int, rate: str, texts: Sequence[str]) -> None:
        """Show how far the task is."""
        self.update(self._task, completed=done, rate=rate, texts=tuple(texts))

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the first layout that fits."""
        tasks = list(tasks)
        texts = max((len(task.fields["texts"]) for task in tasks), default=0)
        table = Table.grid()
        for columns in self._layouts(texts):
            self.columns = columns
            table = super().make_tasks_table(tasks)
            for column in table.columns:
                column.no_wrap = True
            if natural_width(self._terminal, table) <= self._terminal.width:
                break
        return table

    def _layouts(self, texts: int) -> Iterable[tuple[ProgressColumn, ...]]:
        name = TextColumn("{task.description}", markup=False)
        count: list[ProgressColumn] = [MofNCompleteColumn()] if self._counted else []
        rate, remaining = TextColumn("{task.fields[rate]}", markup=False), _Remaining()
        elapsed: ProgressColumn = TimeElapsedColumn()
        wide, half, narrow = (BarColumn(n) for n in (_WIDEST, _WIDEST // 2, _NARROWEST))
        yield (name, wide, *count, rate, elapsed, remaining, _Texts(texts))
        for most in range(texts, 0, -1):
            yield (name, narrow, *count, rate, elapsed, remaining, _Texts(most))
            yield (name, narrow, *count, rate, remaining, _Texts(most))
            yield (name, *count, rate, remaining, _Texts(most))
        yield (name, half, *count, rate, elapsed, remaining)
        yield (name, narrow, *count, rate, remaining)
        yield (name, *count, rate, remaining)
        yield (name, rate, remaining)
        yield (name, remaining)
        yield (name,)
