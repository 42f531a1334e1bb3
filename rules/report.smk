# Reports: all of them from records alone.  With `--config partial=true` they are built from the
# records that exist, marked incomplete, and nothing is trained.  Clusters group them, by their
# profiles; without, Snakemake need not ask after every run for all of the records of all of them.
RECORDS = [f"{RESULTS}/runs/{key}.json" for key in RUNS]
if PARTIAL:
    RECORDS = [path for path in RECORDS if Path(path).exists()]
    if not RECORDS:
        raise WorkflowError(
            f"partial=true: there is no record of {GRID_FILE} in {RESULTS}/runs"
        )

# What is wrong with no number may still look different: new report code builds the reports anew.
CODE = code_digest(GRID_FILE)

# The source paper's figure, and the paper about it, need the experiment of that name.
IS_PAPER = any(
    (run.config.reward, run.config.sampler) in CURVES.values()
    for run in RUNS.values()
    if run.experiment == "figure4"
)
# An ablation's default is one cell.
DEFAULTS = {
    os.path.dirname(key) for key, run in RUNS.items() if run.experiment == "default"
}
IS_ABLATION = len(DEFAULTS) == 1
IS_RECIPE = GRID.recipe is not None
FIGURES = ["methods"] + ["figure4"] * IS_PAPER + ["ablation"] * IS_ABLATION
FIGURES += ["scaling", "ingredients"] * IS_RECIPE


rule tables:
    input:
        RECORDS,
    output:
        f"{RESULTS}/tables/final.csv",
        # Made last, when all of them are there: more than these are written.
        touch(f"{RESULTS}/tables/.complete"),
    log:
        f"{RESULTS}/logs/tables.log",
    params:
        grid=GRID_FILE,
        code=CODE,
    shell:
        # Here, once, what is wrong with the records also goes to the user.
        "hypercoop tables --grid {params.grid} 2> {log} > /dev/null || failed=1; "
        'cat {log} >&2; [ -z "${{failed:-}}" ]'


rule figures:
    input:
        RECORDS,
    output:
        collect(
            f"{RESULTS}/figures/{{name}}.{{ending}}",
            name=FIGURES,
            ending=["svg", "png"],
        ),
        touch(f"{RESULTS}/figures/.complete"),
    log:
        f"{RESULTS}/logs/figures.log",
    params:
        grid=GRID_FILE,
        code=CODE,
    shell:
        "hypercoop figures --grid {params.grid} > {log} 2>&1"


rule leaderboard:
    input:
        RECORDS,
    output:
        f"{RESULTS}/leaderboard/index.html",
    log:
        f"{RESULTS}/logs/leaderboard.log",
    params:
        grid=GRID_FILE,
        code=CODE,
    shell:
        "hypercoop leaderboard --grid {params.grid} > {log} 2>&1"


# What the sections of the paper are made of that are about other results.
BESIDE = [
    str(path)
    for name in GRID.sections
    for pattern in ("*.json", "tables/*.csv", "figures/*.svg", "*.svg")
    for path in sorted(Path("results", name).glob(pattern))
]


SOURCES = sorted(
    os.path.relpath(path) for path in Path(workflow.basedir, "paper").iterdir()
)


rule paper:
    input:
        RECORDS,
        BESIDE,
        rules.tables.output,
        rules.figures.output,
        SOURCES,
    output:
        f"{RESULTS}/paper.pdf",
        f"{RESULTS}/values.json",
        f"{RESULTS}/values.tex",
        f"{RESULTS}/claims.json",
    log:
        f"{RESULTS}/logs/paper.log",
    params:
        grid=GRID_FILE,
        code=CODE,
    shell:
        "hypercoop paper --grid {params.grid} > {log} 2>&1"


rule crate:
    input:
        RECORDS,
        rules.tables.output,
        rules.figures.output,
        rules.leaderboard.output,
        rules.paper.output if IS_PAPER else [],
    output:
        f"{RESULTS}/ro-crate-metadata.json",
    log:
        f"{RESULTS}/logs/crate.log",
    params:
        grid=GRID_FILE,
        code=CODE,
    shell:
        "hypercoop crate --grid {params.grid} > {log} 2>&1"
