"""`shiftaudit`, `python -m shiftaudit`, and the entry point for `torchrun -m shiftaudit`."""

from __future__ import annotations

import sys

from shiftaudit.processes import EXIT_INTERRUPTED, end_when_told, exit_code


def main() -> None:
    """Run the command line; an interrupt while its modules are still being imported is an interrupt too."""
    end_when_told()
    try:
        from shiftaudit.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: no result was written\n")
        sys.exit(exit_code(EXIT_INTERRUPTED))
    try:
        run()
    except SystemExit as stopped:
        if isinstance(stopped.code, int):
            stopped.code = exit_code(stopped.code)
        raise


if __name__ == "__main__":
    main()
