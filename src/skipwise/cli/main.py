"""`skipwise`: the list of commands, and how an error, a warning or an interrupt looks to the user.

The command modules are imported to print the help, so they keep torch and the like inside their functions.
"""

import errno
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

import skipwise
from skipwise.cli.bench import bench
from skipwise.cli.convert import convert
from skipwise.cli.corpus import corpus_app
from skipwise.cli.demo import demo
from skipwise.cli.embed import embed
from skipwise.cli.evaluate import evaluate
from skipwise.cli.report import report
from skipwise.cli.sweep import sweep
from skipwise.cli.tradeoff import tradeoff
from skipwise.cli.train import train
from skipwise.cli.transcribe import transcribe
from skipwise.errors import SkipwiseError, SkipwiseWarning

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


class Commands(TyperGroup):
    """A group that answers an unknown command with the known ones."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            known = ", ".join(self.list_commands(ctx))
            ctx.fail(f"there is no command {args[0]!r}; known are {known}. See {ctx.command_path} --help.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="skipwise",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich costs more than all the rest of --help
)
app.command()(transcribe)
app.command()(evaluate)
app.command()(tradeoff)
app.command()(train)
app.command()(convert)
app.command()(embed)
app.command()(demo)
app.command()(bench)
app.command()(sweep)
app.command()(report)
app.add_typer(corpus_app, name="corpus")


def _print_version(is_wanted: bool) -> bool:
    if is_wanted:
        print(f"skipwise {skipwise.__version__}")
        raise typer.Exit
    return is_wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Speech recognition and translation that skips, for each input, the modules it does not need."""


def main() -> None:
    """The entry point: runs the command line and leaves with 0, 2 (the user's mistake) or 130 (interrupted)."""
    sys.exit(run(app))


def run_script(command: Callable[..., None]) -> NoReturn:
    """Run a script's one command as `skipwise` runs its own: what a user can get wrong is one line, no traceback."""
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command()(command)
    sys.exit(run(application, name=f"python {sys.argv[0]}"))


def run(application: typer.Typer, name: str = "skipwise") -> int:
    """The exit code of one call with `sys.argv`; what a user can get wrong becomes one line on stderr, no traceback."""
    with _one_line_warnings():
        try:
            application(prog_name=name)
        except SystemExit as ended:  # typer always leaves this way
            return _told_code(ended.code)
        except KeyboardInterrupt:
            return _told_code(INTERRUPTED)
        except SkipwiseError as error:
            return _failed(str(error))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = f" while writing {error.filename}" if error.filename else ""
            return _failed(f"no space left on the disk{where}. Free some space, or set TMPDIR to a disk that has some.")
    return 0


def _told_code(code: str | int | None) -> int:
    if code == INTERRUPTED:
        print("Interrupted.", file=sys.stderr)
    return code if isinstance(code, int) else int(code is not None)


def _failed(message: str) -> int:
    print(f"Error: {message}", file=sys.stderr)
    return USER_ERROR


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, SkipwiseWarning):
                print(f"Warning: {message}", file=sys.stderr)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


if __name__ == "__main__":
    main()
