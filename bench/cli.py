"""The command line: thin.  Every error is one line; status 1 if the world failed, 2 if the request.

torch is imported only by the commands that train or act.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from bench.arguments import parser
from bench.commands.acting import evaluate, watch
from bench.commands.checking import check_method, doctor, faults, verify
from bench.commands.listing import methods, tasks
from bench.commands.reporting import report, speed
from bench.commands.training import train
from bench.errors import RequestError, WorldError, is_out_of_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    with _terminable():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    command = ""
    try:
        options = parser().parse_args(arguments)
        command = options.command
        COMMANDS[options.command](options)
        sys.stdout.flush()
        return 0
    except (RequestError, WorldError) as error:
        print(f"hypercoop: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"hypercoop: error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise  # a defect of ours, not of the request
        reason = (str(error).splitlines() or ["not enough memory"])[0]
        print(f"hypercoop: error: out of memory: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        goes_on = "; the same command goes on from here" if command == "train" else ""
        print(f"hypercoop: interrupted{goes_on}", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """End by SIGTERM as by the keyboard, so that nothing half-written stays behind."""

    def terminate(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread: the caller's affair
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "train": train,
    "evaluate": evaluate,
    "watch": watch,
    "methods": methods,
    "tasks": tasks,
    "check-method": check_method,
    "speed": speed,
    "faults": faults,
    "doctor": doctor,
    "verify": verify,
    **dict.fromkeys(("tables", "figures", "leaderboard", "paper", "crate"), report),
}

if __name__ == "__main__":
    sys.exit(main())
