"""Peak memory of one audit in MiB: `python memory.py MODEL IMAGES SHIFTS`."""

from __future__ import annotations

import resource
import sys
import tempfile
import warnings
from pathlib import Path

import measure
from images import write_photographs

from shiftaudit.records.settings import Settings

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, images, shifts = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as folder:
        files = write_photographs(Path(folder), images)
        measure.Whole(measure.loaded(measure.network(name)), files, Settings(shifts=shifts, workers=0))()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
