"""A hook of the site: the page of the command line is written from the commands' own help."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.structure.pages import Page

from gap_tune import cli

_PAGE, _PLACE = "reference/command-line.md", "<!-- the commands -->"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put every command, its arguments and options into the page that has a place for them."""
    if page.file.src_uri != _PAGE:
        return markdown
    group: Any = typer.main.get_command(cli.app)
    context = group.make_context("gap-tune", [], resilient_parsing=True)
    sections = [
        _section(context, name, group.commands[name]) for name in group.list_commands(context)
    ]
    return markdown.replace(_PLACE, "\n\n".join(sections))


def _section(parent: Any, name: str, command: Any) -> str:
    context = type(parent)(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    said = " ".join((command.help or "").split("\f")[0].split("\n\n")[0].split())
    more = [" ".join(each.split()) for each in (command.help or "").split("\n\n")[1:]]
    lines = [f"## gap-tune {name}", "", said, "", f"```text\n{usage}\n```", ""]
    lines += [line for each in more for line in (each, "")]
    lines += ["| option | |", "|---|---|", *_rows(command, context)]
    return "\n".join(lines)


def _rows(command: Any, context: Any) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        names, said = record or (parameter.make_metavar(context), parameter.help or "")
        yield f"| <code>{_cell(names)}</code> | {_cell(said)} |"


def _cell(text: str) -> str:
    # A cell ends at a bar, wherever it stands.
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;")
