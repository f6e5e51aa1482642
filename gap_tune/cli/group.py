"""How the commands read and end: whole words in their help, one line for what goes wrong."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gap_tune.errors import GapTuneError, RayStartError, did_you_mean
from gap_tune.formatting import plain, without_secrets

# Typer's own copy of click, or click itself: the public exception leads to the right base class.
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
_FORMATTER: Any = typer.Context.formatter_class
# One that looks like a hyphen and is no place to break a line.
_HYPHEN = "\N{NON-BREAKING HYPHEN}"
# What pydantic puts before a message that came from typer.
_PYDANTIC = "Value error, "
_NO_CHOICE = re.compile(r"'([^']*)' is not one of (.*)")


class OneLine(typer.BadParameter):
    """Bad input, told in one line; exit status 2."""

    exit_code = 2

    def format_message(self) -> str:
        """Return the message alone: it says what was expected and what came."""
        return self.message

    def show(self, file: Any = None) -> None:
        """Print the line, without the usage that click puts before it."""
        text = plain(without_secrets(f"gap-tune: error: {self.format_message()}"))
        if file is None and sys.stderr.isatty():
            text = whole_words(text, shutil.get_terminal_size().columns)
        typer.echo(text, file=file, err=file is None)


class Failed(OneLine):
    """What was asked for was done, and nothing came of it; exit status 1."""

    exit_code = 1


class _Formatter(_FORMATTER):
    """Lays out help without breaking names such as gap-validation at their hyphens."""

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _HYPHEN))

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        unbroken = [(name, text.replace("-", _HYPHEN)) for name, text in rows]
        super().write_dl(unbroken, *args, **kwargs)

    def getvalue(self) -> str:
        return str(super().getvalue()).replace(_HYPHEN, "-")


class _Context(typer.Context):
    formatter_class = _Formatter


class Command(TyperCommand):
    """One command."""

    context_class = _Context


class Commands(TyperGroup):
    """All commands, with one way to end where something is wrong."""

    context_class = _Context

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, each with the whole of its first sentence."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        if not commands:
            return
        with formatter.section("Commands"):
            formatter.write_dl([(n, _first_paragraph(c.help)) for n, c in commands if c])

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read what stands before the command."""
        with _in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Read what stands after the command, and run it."""
        with _in_one_line():
            return super().invoke(ctx)


def whole_words(text: str, width: int, indent: str = "") -> str:
    r"""Return text in lines of a width at most, none of which ends within a word.

    >>> whole_words("choose gap-validation", 12)
    'choose\ngap-validation'
    """
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except OneLine:
        raise
    except _USAGE_ERROR as error:
        raise OneLine(_told(error)) from None
    except RayStartError as error:
        raise Failed(str(error)) from None
    except GapTuneError as error:
        raise OneLine(str(error)) from None
    except (KeyboardInterrupt, typer.Abort):
        text = "gap-tune: interrupted; `gap-tune resume FOLDER` continues."
        typer.echo(text, err=True)
        raise typer.Exit(130) from None


def _told(error: Any) -> str:
    """Return what click has to say of bad usage, with the name that was probably meant."""
    text = str(error.format_message()).replace(_PYDANTIC, "").rstrip(".")
    choice = _NO_CHOICE.search(text)
    near = "" if choice is None else did_you_mean(choice[1], re.findall(r"'(.*?)'", choice[2]))
    # Click's own guesses are in the formatted text alone; Typer's, of commands, in the message.
    if hasattr(error, "possibilities"):
        text = str(error.message).rstrip(".")
        if hasattr(error, "option_name") and error.ctx is not None:
            options = [name for each in error.ctx.command.params for name in _spellings(each)]
            near = did_you_mean(error.option_name, options, written=str)
    return text + ("" if text.endswith("?") else ".") + near


def _spellings(parameter: Any) -> list[str]:
    names = (*parameter.opts, *parameter.secondary_opts)
    return [name for name in names if name.startswith("-")]
