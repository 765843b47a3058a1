"""A gate's result as JUnit XML: one test case a rule, a failure where it failed, skipped where it is inconclusive."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from shiftaudit.records.gate import FAIL, INCONCLUSIVE, GateResult
from shiftaudit.render.gate import words

# XML 1.0 has no way to write these, not even as a reference.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(result: GateResult) -> str:
    """The result as an XML document. An inconclusive rule that stops the gate is an error, any other is skipped."""
    outcomes = [verdict.outcome for verdict in result.verdicts]
    errors = sum(verdict.stops(result.on_inconclusive) for verdict in result.verdicts)
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count(FAIL)),
        "errors": str(errors),
        "skipped": str(outcomes.count(INCONCLUSIVE) - errors),
    }
    root = ElementTree.Element(
        "testsuites", {"name": "shiftaudit", **{k: v for k, v in counts.items() if k != "skipped"}}
    )
    suite = ElementTree.SubElement(root, "testsuite", {"name": "shiftaudit gate", **counts})
    for verdict in result.verdicts:
        name = _clean(f"{verdict.name} ({verdict.rule})")
        case = ElementTree.SubElement(suite, "testcase", {"classname": "shiftaudit.gate", "name": name, "time": "0"})
        text = _clean(words.sentence(verdict))
        if verdict.outcome == FAIL:
            ElementTree.SubElement(case, "failure", {"message": text, "type": "regression"}).text = text
        elif verdict.stops(result.on_inconclusive):
            ElementTree.SubElement(case, "error", {"message": text, "type": "inconclusive"}).text = text
        elif verdict.outcome == INCONCLUSIVE:
            ElementTree.SubElement(case, "skipped", {"message": text})
        else:
            ElementTree.SubElement(case, "system-out").text = text
    told = [text for text in (words.power(result), words.anchor(result)) if text]
    ElementTree.SubElement(suite, "system-out").text = _clean("\n".join(told))
    if result.warnings:
        ElementTree.SubElement(suite, "system-err").text = _clean("\n".join(result.warnings))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
