# What contributors run. `just --list` names it; every recipe is one line of ordinary commands.

# Lint, format check and types.
check:
    ruff check . && ruff format --check . && mypy

# All tests and doctests.
test *arguments:
    python -m pytest {{arguments}}

# Everything that CI runs, in a fresh virtual environment.
ci:
    bash .ci/run

# The generated pages: the reference of commands and measures, and the outputs quoted in the README.
docs:
    python scripts/make_reference.py && python scripts/update_readme.py

# The documentation site, at http://127.0.0.1:8000.
site:
    mkdocs serve

# The source distribution and the wheel, checked as a package index checks them.
dist:
    python -m build && twine check --strict dist/*

# Write the golden texts anew; look at the difference before it is committed.
golden:
    python -m pytest --update-golden tests/render tests/metrics tests/audit tests/surgery tests/test_doctor.py

# The long fault campaign: damaged files, full disks, kills, odd environments; see SECURITY.md.
faults cases="2000":
    python tests/faults/campaign.py --cases {{cases}}

# How much of the quick rooms their tests reach, against a floor; CI runs this too.
coverage:
    bash .ci/coverage
