"""The long fault campaign: `python tests/faults/campaign.py --cases 2000`. Each seed is one case, and can be run again alone."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from faults import gate_mutations
from faults.cases import draw, make
from faults.harness import preload, run, violations


def main() -> int:
    """Run the cases; how many of each kind there were, and every violation with its seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--gate", type=int, default=200, help="edits of what a gate judges that must not make it pass")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after these")
    options = parser.parse_args()
    preload()
    until = time.monotonic() + 60 * options.minutes
    kinds: Counter[str] = Counter()
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name) / "work")
        for seed in range(options.first, options.first + options.cases):
            case = draw(seed, folder)
            found = violations(case, folder)
            kinds[case.what] += 1
            for text in found:
                print(f"seed {seed}: {case.what}: {' '.join(case.arguments)}: {text}", flush=True)
            bad += bool(found)
            if time.monotonic() > until:
                break
    bad += _passed(options.gate, until)
    print(f"{sum(kinds.values())} cases, {bad} with violations: {dict(sorted(kinds.items()))}")
    return bool(bad)


def _passed(number: int, until: float) -> int:
    """How many edits of candidate, baseline, labels and folder made the gate pass what it fails."""
    passed = seed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = gate_mutations.make(Path(name) / "work")
        assert run(gate_mutations.of_report(), folder)[0] == run(gate_mutations.of_model(), folder)[0] == 1
        for seed in range(number):
            code, told = run(gate_mutations.draw(seed, folder), folder)
            if code not in (1, 2, 3):
                passed += 1
                print(f"gate seed {seed}: exit code {code}: {told[-300:]}", flush=True)
            if time.monotonic() > until:
                break
    print(f"{seed + 1} edits of what the gate judges, {passed} made it pass")
    return passed


if __name__ == "__main__":
    sys.exit(main())
