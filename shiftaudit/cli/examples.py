"""What the commands are for, examples of each, and which options stand on the long help page alone."""

from __future__ import annotations

COMMAND_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Measure", ("demo", "score", "sweep", "stages", "show", "merge")),
    ("Read", ("report", "explain", "compare")),
    ("Repair", ("patch", "refit", "tune", "advise")),
    ("In CI", ("baseline", "gate")),
    ("Set up", ("doctor",)),
)

RARE: frozenset[str] = frozenset((
    "--interpolation", "--channels", "--output", "--stage-views", "--batch-size", "--workers", "--autocast",
    "--compile", "--shard", "--precision", "--max-skipped", "--placement", "--patchify", "--pad", "--strength",
    "--check-export", "--json", "--layers", "--ridge", "--holdout", "--sweeps", "--rows", "--min-scale", "--memory",
    "--lr", "--grow", "--train-size", "--flip", "--shift-views", "--centred", "--batch-norm", "--checks",
    "--patience", "--time-limit", "--alpha",
))  # fmt: skip
"""Options that few people need: `--help-all` shows them."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": (
        "shiftaudit demo",
        "shiftaudit demo --html page.html",
        "shiftaudit demo --copy .",
    ),
    "score": (
        "shiftaudit score resnet50 photos/",
        "shiftaudit score model.pt photos/ -o report.json --html page.html",
        "shiftaudit score weights.safetensors --arch mobilenet_v3_small photos/",
        "# every 4th shift of the grid, the same for all images, circular only",
        "shiftaudit score model.pt photos/ --shifts grid:4 --protocol circular",
        "# labels from a file; inputs scaled to [-1, 1]",
        "shiftaudit score model.pt photos/ --labels labels.csv --mean 0.5 --std 0.5",
    ),
    "sweep": (
        "shiftaudit sweep resnet18 resnet50 model.pt photos/ -o sweep.html",
        "# all of a family; started again, it goes on where it was stopped",
        "shiftaudit sweep 'timm:resnet*' photos/ -o sweep.csv",
    ),
    "stages": (
        "shiftaudit stages resnet50",
        "shiftaudit stages model.pt --tree",
    ),
    "show": (
        "shiftaudit show model.pt cat.jpg",
        "# a film along the diagonal; the nearest flips side by side",
        "shiftaudit show model.pt cat.jpg -o cat.gif",
        "shiftaudit show model.pt cat.jpg -o cat.png --protocol circular",
    ),
    "merge": (
        "shiftaudit score model.pt photos/ --shard 1/2 --samples part1.jsonl",
        "shiftaudit score model.pt photos/ --shard 2/2 --samples part2.jsonl",
        "shiftaudit merge part1.jsonl part2.jsonl -o report.json",
    ),
    "report": (
        "shiftaudit report report.json",
        "shiftaudit report report.json --format heatmap",
        "shiftaudit report report.json -o page.html --images photos/",
        "# a figure for a paper; a row for each view; many models side by side",
        "shiftaudit report report.json -o figure.pdf",
        "shiftaudit report report.json -o rows.csv",
        "shiftaudit report a.json b.json c.json --format csv",
        "# before and after on one page",
        "shiftaudit report before.json after.json -o page.html",
    ),
    "explain": (
        "shiftaudit explain",
        "shiftaudit explain consistency",
    ),
    "compare": (
        "shiftaudit compare before.json after.json",
        "shiftaudit compare before.json after.json --format markdown",
    ),
    "patch": (
        "shiftaudit patch resnet50 -o aa.pt",
        "shiftaudit patch model.pt --dry-run",
        "# only some sites, with a larger filter",
        "shiftaudit patch model.pt -o aa.pt --only 'layer4.*' --filter-size 5",
        "# fit the copy to the original, then score both on the same views",
        "shiftaudit patch model.pt -o aa.pt --refit photos/ --verify unseen/",
        "# the most consistent copy that surely loses at most 2 points of accuracy",
        "shiftaudit patch model.pt -o aa.pt --max-drop 0.02 --images photos/",
    ),
    "refit": ("shiftaudit refit aa.pt photos/ --teacher model.pt -o fitted.pt",),
    "tune": ("shiftaudit tune aa.pt photos/ --teacher model.pt -o tuned.pt --minutes 60",),
    "advise": ("shiftaudit advise model.pt photos/",),
    "baseline save": ("shiftaudit baseline save report.json -o baseline.json",),
    "baseline show": ("shiftaudit baseline show baseline.json",),
    "baseline update": ("shiftaudit baseline update report.json",),
    "gate": (
        "shiftaudit gate report.json --baseline baseline.json",
        "shiftaudit gate model.pt photos/ --baseline baseline.json --format github",
        "shiftaudit gate report.json --margin consistency=0.02 --floor accuracy=0.7",
    ),
    "doctor": ("shiftaudit doctor",),
}
