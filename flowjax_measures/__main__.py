"""The command line: `python -m flowjax_measures` runs the quickstart, `doctor` checks."""

import argparse
import sys
from collections.abc import Sequence

from flowjax_measures import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    **Arguments:**

    - `arguments`: the words after `python -m flowjax_measures`; by default those of the process.

    **Returns:** the exit status, 0 for success.
    """
    parser = argparse.ArgumentParser(
        prog="flowjax_measures",
        description="Mean-field interacting systems, as flows of measures, in JAX.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("quickstart", help="run a small simulation (without a command: this)")
    commands.add_parser("doctor", help="check this machine and what is installed on it")
    command = parser.parse_args(arguments).command

    # Imported only when it is run: the doctor must work where the rest doesn't.
    if command == "doctor":
        from flowjax_measures._cli._doctor import doctor

        return doctor()
    from flowjax_measures._cli._quickstart import main as quickstart

    return quickstart() or 0


if __name__ == "__main__":
    sys.exit(main())
