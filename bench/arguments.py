"""The arguments of the command line, with units and defaults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bench.checkpoint_files import MIN_INTERVAL
from bench.config import RunConfig
from bench.errors import RequestError, meant
from bench.tasks.options import CoopNavOptions

RESULTS = Path("results")
HOLDS_GRIDS = "folder that holds a folder <grid>/ for every grid (default: results)"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and that takes no flag for another that is longer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is unknown where it was given: the command's own flags are what is right."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            hint = meant(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}; {hint}".rstrip("; "))
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Say what was wrong and where to look."""
        raise RequestError(f"{message} (see '{self.prog} --help')")


class Version(argparse.Action):
    """Print the version, which only who asks for it waits for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Say it and leave."""
        import importlib.metadata

        print(f"hypercoop {importlib.metadata.version('hypercoop')}")
        parser.exit()


def parser() -> Parser:
    """Return the parser of every command; `command` names the one that was given."""
    top = Parser(prog="hypercoop", description="Train teams, and report from their records.")
    top.add_argument("--version", action=Version, nargs=0, help="print the version")
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)

    train = commands.add_parser("train", help="train one run or fleet, to record(s)")
    place = train.add_argument_group("which run")
    place.add_argument("--grid", type=Path, help="grid file that the run belongs to")
    place.add_argument(
        "--run",
        dest="keys",
        nargs="+",
        default=[],
        metavar="KEY",
        help="the run's path below runs/, without ending; several of one shape train as one fleet",
    )
    place.add_argument("--replicas", type=int, default=1, help="seeds side by side (default: 1)")
    place.add_argument("--results", type=Path, default=RESULTS, help=HOLDS_GRIDS)
    how = train.add_argument_group(
        "how (numbers stay, but for rounding on another device, or compiled)"
    )
    how.add_argument(
        "--device", default="cpu", help="torch device: cpu, cuda, cuda:1, ... (default: cpu)"
    )
    how.add_argument(
        "--compile",
        action="store_true",
        help="compile updates on a CPU: a third less time, after a minute; needs a C++ compiler",
    )
    how.add_argument("--force", action="store_true", help="train even if the record is up to date")
    how.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=MIN_INTERVAL,
        help=f"least seconds between checkpoints (default: {MIN_INTERVAL:g})",
    )
    how.add_argument("--wandb", action="store_true", help="mirror to wandb (offline by default)")
    how.add_argument("--json", action="store_true", help="print a JSON summary")
    values = train.add_argument_group("run configuration (a method's own settings are defaults)")
    for model in (RunConfig, CoopNavOptions):
        for name, field in model.model_fields.items():
            if name == "task_options":
                continue
            text = f"{' '.join((field.description or '').split())} (default: {field.default})"
            flag = f"--{name.replace('_', '-')}"
            values.add_argument(flag, metavar="VALUE", help=text.replace("%", "%%"))
    _add_task_option(values, "option of the task, e.g. --task-option max_cycles=25; repeatable")

    for name, episodes, text in (
        ("evaluate", 320, "re-evaluate a saved policy"),
        ("watch", 6, "draw a saved policy's trajectories (PNG) and an animation (GIF)"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("policy", type=Path, metavar="RUN", help="policy or record of a run")
        text = "policy of the best evaluation, or the last one (default: best)"
        command.add_argument("--which", choices=["best", "final"], default="best", help=text)
        text = "seed of the episodes (default: 0)"
        command.add_argument("--seed", type=int, default=0, help=text)
        text = f"greedy episodes (default: {episodes})"
        command.add_argument("--episodes", type=int, default=episodes, help=text)
        text = "number of agents that act (default: as in training)"
        command.add_argument("--agents", type=int, help=text)
        text = "option of the task, e.g. split=held-out; repeatable (default: as in training)"
        _add_task_option(command, text)
    commands.choices["evaluate"].add_argument("--json", action="store_true", help="print JSON")
    commands.choices["watch"].add_argument(
        "--out", type=Path, help="folder (default: the policy's)"
    )

    for name, text in (
        ("methods", "list the methods, with parameters and FLOPs"),
        ("tasks", "list the tasks, rewards, options and samplers"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument("--agents", default="3", help="N (default: 3)")

    commands.choices["tasks"].description = (
        "one_policy and one_stochastic_policy: the most that one policy for all agents, which sees "
        "no ID, can score where they all see the same"
    )
    commands.choices["methods"].add_argument(
        "--method", action="append", help="of the table, or MODULE:NAME (default: all; repeatable)"
    )
    commands.choices["methods"].add_argument(
        "--hidden", default="[64, 64]", help="widths of the hidden layers (default: [64, 64])"
    )
    commands.choices["methods"].add_argument(
        "--growth",
        action="store_true",
        help="print how each count grows with N and with the width: slopes on logarithmic axes",
    )
    commands.choices["methods"].add_argument(
        "--out", type=Path, help="also write methods.json, and growth as CSV, SVG and PNG, there"
    )

    check = commands.add_parser(
        "check-method", help="check a method, or a parameter scheme under every algorithm"
    )
    check.add_argument(
        "method", metavar="METHOD", help="a named method, or MODULE:NAME of one's own"
    )
    check.add_argument("--json", action="store_true", help="print JSON")

    speed = commands.add_parser("speed", help="measure what training costs, and its floor")
    speed.add_argument("--quick", action="store_true", help="fewer sizes: within 3 minutes")
    speed.add_argument("--json", action="store_true", help="print JSON")
    speed.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="PEER[=PYTHON]",
        help="also do the work of naive, benchmarl, benchmarl-pettingzoo, vmas or jaxmarl, beside "
        "ours; PYTHON is that of the environment it is installed in; repeatable",
    )
    speed.add_argument("--device", default="cpu", help="where fleets are timed (default: cpu)")
    speed.add_argument(
        "--out",
        type=Path,
        help="folder (default: results/speed, or results/local/speed with --quick)",
    )

    faults = commands.add_parser(
        "faults", help="kill, starve and damage small runs, and compare what they end in"
    )
    faults.add_argument("--injections", type=int, default=50, help="how many (default: 50)")
    faults.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    faults.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    faults.add_argument("--json", action="store_true", help="print JSON")

    doctor = commands.add_parser("doctor", help="say what is wrong with a folder of records")
    doctor.add_argument("results", type=Path, metavar="RESULTS", help="folder that holds runs/")
    doctor.add_argument("--grid", type=Path, help="grid file (default: config/<its name>.yaml)")
    doctor.add_argument("--json", action="store_true", help="print JSON")

    verify = commands.add_parser("verify", help="train recorded runs again, and compare")
    verify.add_argument("results", type=Path, metavar="RESULTS", help="folder of records")
    verify.add_argument("--sample", type=int, default=1, help="runs drawn of it (default: 1)")
    verify.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    verify.add_argument("--json", action="store_true", help="print JSON")

    for name in ("tables", "figures", "leaderboard", "paper", "crate"):
        what = "RO-Crate metadata" if name == "crate" else name
        command = commands.add_parser(name, help=f"build the {what} of a grid from its records")
        command.add_argument("--grid", type=Path, required=True, help="grid file")
        command.add_argument("--results", type=Path, default=RESULTS, help=HOLDS_GRIDS)
    return top


def _add_task_option(command: argparse._ActionsContainer, text: str) -> None:
    command.add_argument(
        "--task-option", action="append", default=[], metavar="KEY=VALUE", help=text
    )


def read_task_options(options: argparse.Namespace) -> dict[str, Any]:
    """Read --task-option KEY=VALUE, given any number of times.

    Raises:
        RequestError: if one is not of this form.
    """
    read = {}
    for pair in options.task_option:
        name, equals, value = pair.partition("=")
        if not equals:
            raise RequestError(f"--task-option {pair}: write KEY=VALUE")
        read[name] = plain(value)
    return read


def plain(text: str) -> Any:
    """Read a value as YAML does, whole numbers in decimal alone; what is none stays text."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    if type(value) is int:  # YAML has octal and sexagesimal ones, too
        return int(text) if text.strip().lstrip("+-").isdecimal() else text
    return value
