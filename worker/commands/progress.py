"""A bar on standard error for commands that take long: rate and time left. Silent where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from worker.commands import streams

#: Says how far the work is, in the unit of its total, and how many things were done.
Tell = Callable[[int, int], None]


class _Rate(ProgressColumn):
    """How many things were done, and how many in a second."""

    def render(self, task: Task) -> Text:
        count = task.fields["count"]
        rate = count / task.elapsed if task.elapsed else 0
        return Text(f"{count:,} {task.fields['what']}, {rate:,.0f}/s")


@contextmanager
def progress(doing: str, what: str, total: int | None, *, is_hidden: bool = False) -> Iterator[Tell]:
    """Show a bar while the context lasts; without a total there is no time left to tell.

    `what` names the things that are counted. `is_hidden` is for what writes to the terminal itself meanwhile.
    """
    console = streams.console(stderr=True)
    doing_what = TextColumn("{task.description}", markup=False)
    columns = (doing_what, BarColumn(), _Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    # A bar is drawn with what colours are made of.
    is_watched = console.is_terminal and not streams.is_plain() and not is_hidden
    with Progress(*columns, console=console, transient=True, disable=not is_watched) as shown:
        task = shown.add_task(doing, total=total, count=0, what=what)

        def tell(done: int, count: int) -> None:
            shown.update(task, completed=done, count=count)

        yield tell
