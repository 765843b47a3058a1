"""The summary that GitHub shows of a step of a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def append_step_summary(markdown: str, environ: Mapping[str, str]) -> str | None:
    """Append to the file that GITHUB_STEP_SUMMARY names, if it names one.

    Returns why that could not be done, which changes no verdict; None when all went well.
    """
    target = environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return None
    try:
        with Path(target).open("a", encoding="utf-8", newline="\n") as summary:
            summary.write(markdown + "\n")
    except OSError as error:
        return f"cannot write the step summary {target}: {error.strerror or error}"
    return None
