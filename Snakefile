# One workflow for every grid: `snakemake` builds the quick grid, `snakemake --configfile
# config/paper.yaml` another.  Data flows one way: grid -> records -> reports -> paper.
import os
import shlex
import sys
from pathlib import Path

from snakemake.utils import min_version

from bench.demand import memory_mb, minutes
from bench.errors import RequestError, nearest
from bench.grid import Grid, expand, fleets, load_grid, untuned
from bench.report import code_digest
from bench.report.curves import CURVES

min_version("9.19")


# For --software-deployment-method apptainer; `docker build -t hypercoop:0.1.0 .` makes it.
container: "docker://hypercoop:0.1.0"


# The commands of the environment that runs Snakemake, whether it is activated or not; a prefix
# takes the place of Snakemake's own, by which a failed part of a pipe fails.
shell.prefix(
    f"set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
)

if len(workflow.configfiles) > 1:
    raise WorkflowError(f"{len(workflow.configfiles)} config files: choose one grid")

# Relative, so that moving the folder makes nothing stale.
GRID_FILE = os.path.relpath(
    workflow.configfiles[0] if workflow.configfiles else "config/quick.yaml"
)
try:
    GRID = load_grid(Path(GRID_FILE))
    RUNS = expand(GRID)
except RequestError as error:
    raise WorkflowError(str(error)) from None
for name, methods in untuned(GRID).items() if workflow.is_main_process else ():
    print(
        f"experiment {name}: no tuned values yet, so defaults, for {', '.join(methods)}; when "
        "config/methods.yaml gets them, these runs are to be made again",
        file=sys.stderr,
    )
RESULTS = f"results/{GRID.name}"
KEYS = [*Grid.model_fields, "partial", "fleet_size", "device", "compile"]
for key in config.keys() - {*KEYS}:
    raise WorkflowError(f"--config {key}: unknown; {nearest(key, KEYS[-4:])}")
for key in workflow.config_settings.config.keys() & Grid.model_fields.keys():
    raise WorkflowError(f"--config {key}: the grid says that; change it in {GRID_FILE}")
SWITCHES = {key: str(config.get(key, False)).lower() for key in ("partial", "compile")}
for key, value in SWITCHES.items():
    if value not in ("true", "false"):
        raise WorkflowError(f"{key}={config[key]}: choose true or false")
PARTIAL, COMPILE = (value == "true" for value in SWITCHES.values())


# Without the rules that make them records are sources: whatever they are, none is made again.
if not PARTIAL:

    include: "rules/train.smk"


include: "rules/report.smk"


rule all:
    default_target: True
    input:
        rules.figures.output,
        rules.tables.output,
        rules.leaderboard.output,
        rules.paper.output if IS_PAPER else [],
        rules.crate.output,
