import errno
import os
import subprocess
import sys
import warnings

import pytest
import typer
from typer.testing import CliRunner

import skipwise
from skipwise.cli.main import Commands, app, main, run, run_script
from skipwise.errors import SkipwiseError, SkipwiseWarning

ENVIRONMENT = {**os.environ, "NO_COLOR": "1"}


def dummy() -> typer.Typer:
    """The same frame with commands that end in every way there is."""
    application = typer.Typer(
        cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )

    @application.command()
    def fine() -> None:
        typer.echo("done")

    @application.command()
    def fail(kind: str) -> None:
        raise {
            "user": SkipwiseError("sparsity must be in [0, 1), got 2."),
            "full": OSError(errno.ENOSPC, "No space left on device", "/some/file"),
            "full-unnamed": OSError(errno.ENOSPC, "No space left on device"),
            "interrupt": KeyboardInterrupt(),
            "exit": typer.Exit(3),
            "bug": RuntimeError("ours"),
            "system": FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"),
        }[kind]

    @application.command()
    def warn() -> None:
        warnings.warn("the file breaks off at 3.2 s", SkipwiseWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)

    return application


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["skipwise", *arguments])
        code = run(dummy())
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


def test_a_command_that_works_says_what_it_says(called) -> None:
    assert called("fine") == (0, "done\n", "")


def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(called) -> None:
    assert called("fail", "user") == (2, "", "Error: sparsity must be in [0, 1), got 2.\n")


def test_a_full_disk_is_one_line_and_exit_code_2(called) -> None:
    code, _, err = called("fail", "full")
    assert code == 2
    assert err.startswith("Error: no space left on the disk while writing /some/file. Free some space, or set TMPDIR")
    assert err.count("\n") == 1
    assert called("fail", "full-unnamed")[2].startswith("Error: no space left on the disk. Free")


def test_an_interrupt_is_130(called) -> None:
    assert called("fail", "interrupt") == (130, "", "Interrupted.\n")


def test_a_command_may_choose_its_exit_code(called) -> None:
    assert called("fail", "exit") == (3, "", "")


@pytest.mark.parametrize(("kind", "error"), [("bug", RuntimeError), ("system", FileNotFoundError)])
def test_our_own_mistakes_keep_their_traceback(called, kind: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        called("fail", kind)


def test_a_warning_is_one_line_and_others_stay_as_they_are(called) -> None:
    usual = warnings.showwarning
    with pytest.warns(UserWarning, match="something else") as others:
        code, _, err = called("warn")
    assert (code, err) == (0, "Warning: the file breaks off at 3.2 s\n")
    assert [warning.category for warning in others] == [UserWarning]
    assert warnings.showwarning is usual


def test_an_unknown_command_names_the_known_ones(called) -> None:
    code, _, err = called("transcibe")
    assert code == 2
    assert "there is no command 'transcibe'; known are fine, fail, warn. See skipwise --help." in " ".join(err.split())


def test_an_unknown_option_is_exit_code_2(called) -> None:
    code, _, err = called("fine", "--fast")
    assert code == 2
    assert "--fast" in err


def test_the_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["skipwise", "--version"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out == f"skipwise {skipwise.__version__}\n"


@pytest.mark.parametrize("command", ["transcribe", "evaluate", "train", "convert", "demo", "corpus"])
def test_every_command_is_there_and_explains_itself(command: str) -> None:
    """Also: typer still reads the annotations of functions that the type checker has wrapped."""
    assert command in CliRunner().invoke(app, ["--help"], prog_name="skipwise").output
    result = CliRunner().invoke(app, [command, "--help"], prog_name="skipwise")
    assert result.exit_code == 0
    assert f"Usage: skipwise {command}" in result.output


def test_the_help_imports_nothing_heavy() -> None:
    script = """
import sys
from skipwise.cli.main import main
sys.argv = ["skipwise", "--help"]
try:
    main()
except SystemExit:
    print(sorted({"torch", "transformers", "numpy", "rich"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stdout


def test_importing_skipwise_imports_nothing_else() -> None:
    script = "import sys, skipwise; print(dir(skipwise), 'numpy' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "'Transcriber'" in done.stdout
    assert done.stdout.endswith("False False\n")


def test_transcribing_imports_neither_transformers_nor_a_compiler() -> None:
    script = """
import sys
import numpy
from skipwise import Transcriber
noise = numpy.random.default_rng(0).standard_normal(8000).astype("float32")
Transcriber().transcribe((0.1 * noise, 16_000), language="de")
print(sorted({"transformers", "torch._dynamo", "peft", "scipy", "matplotlib"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n"), done.stdout


def test_a_script_ends_as_a_command_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def script(share: float) -> None:
        raise SkipwiseError(f"share must be in [0, 1), got {share:g}.")

    for arguments, message in (
        (["2"], "Error: share must be in [0, 1), got 2.\n"),
        ([], "Usage: python benchmarks/some.py [OPTIONS]"),
    ):
        monkeypatch.setattr(sys, "argv", ["benchmarks/some.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            run_script(script)
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith(message)
