"""The command `lamina`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from lamina.cli import COMMANDS
from lamina.cli.output import safe
from lamina.core.errors import did_you_mean

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    chosen = next((a for a in given if not a.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="lamina",
        description="Train models on JAX the Keras way, and take them to other runtimes.",
        epilog="lamina COMMAND --help tells more of each.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    if chosen is not None and chosen not in COMMANDS:
        parser.error(f"there is no command '{chosen}'.{did_you_mean(chosen, COMMANDS)}")
    module = None
    for name, (path, what) in COMMANDS.items():
        if name != chosen:
            commands.add_parser(name, help=what)
            continue
        module = importlib.import_module(path)
        command = commands.add_parser(
            name,
            help=what,
            description=(module.__doc__ or "").partition(": ")[2],
            epilog=f"Example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = parser.parse_args(given)
    if module is None:
        parser.error("name a command")
    try:
        code = module.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # whatever a file or a model raises is told in a line
        if options.debug:
            traceback.print_exc()
        print(
            f"lamina {options.command}: {safe(_line(error).removeprefix(f'lamina {options.command}: '))}",
            file=sys.stderr,
        )
        return getattr(error, "exit_code", EXIT_ERROR)


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    line = " ".join(text.split()) or "no message"
    known = isinstance(error, (ValueError, OSError, ImportError, KeyError, TypeError, NotImplementedError))
    return line if known else f"{type(error).__name__}: {line}"


if __name__ == "__main__":
    sys.exit(main())
