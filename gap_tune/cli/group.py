"""How the commands end: what goes wrong is one line on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from gap_tune.errors import GapTuneError

# Typer's own copy of click, or click itself: the public exception leads to the right base class.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]


class OneLine(typer.BadParameter):
    """Bad input, told in one line; exit status 2."""

    exit_code = 2

    def format_message(self) -> str:
        """Return the message alone: it says what was expected and what came."""
        return self.message

    def show(self, file: Any = None) -> None:
        """Print the line, without the usage that click puts before it."""
        typer.echo(f"gap-tune: error: {self.format_message()}", file=file, err=file is None)


class Failed(OneLine):
    """What was asked for was done, and nothing came of it; exit status 1."""

    exit_code = 1


class Commands(TyperGroup):
    """All commands, with one way to end where something is wrong."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read what stands before the command."""
        with _in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Read what stands after the command, and run it."""
        with _in_one_line():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except OneLine:
        raise
    except _USAGE_ERROR as error:
        raise OneLine(error.format_message()) from None
    except GapTuneError as error:
        raise OneLine(str(error)) from None
    except (KeyboardInterrupt, typer.Abort):
        text = "gap-tune: interrupted; `gap-tune resume FOLDER` continues."
        typer.echo(text, err=True)
        raise typer.Exit(130) from None
