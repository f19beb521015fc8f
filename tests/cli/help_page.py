"""Makes docs/cli.md from the commands' own help (`make docs`); a test checks it for drift."""

import typer

from roentmod.cli import app


def text():
    """Return the page."""
    root = typer.main.get_command(app)
    parts = ["# The command line\n\nMade by `make docs` from the commands' own help.\n"]
    for name, command in sorted(_commands(root)):
        parts.append(f"## roentmod {name}\n\n```\n{_help(name, command)}\n```\n")
    return "\n".join(parts)


def _commands(group, before=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _help(name, command):
    context = typer.Context(
        command, info_name=f"roentmod {name}", terminal_width=96, max_content_width=96
    )
    return command.get_help(context).rstrip()


if __name__ == "__main__":
    print(text(), end="")
