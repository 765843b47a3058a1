"""The shipped JSON Schemas: up to date, accepting what the program writes, refusing what it does not."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
from report_builder import fake_report, make_report

from shiftaudit.gate.baseline import baseline_of, baseline_text
from shiftaudit.gate.compare import compare
from shiftaudit.gate.judge import judge
from shiftaudit.records import codec
from shiftaudit.records.gate import Rules
from shiftaudit.schema import FOLDER, SCHEMAS, schema_text


def shipped(name):
    return json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def written(name):
    report, other = make_report(40), make_report(40, seed=2, flips=0.5)
    if name == "report":
        return json.loads(codec.dumps(report))
    if name == "baseline":
        return json.loads(baseline_text(baseline_of(report)))
    if name == "gate":
        rules = Rules(margins={"stable": 0.1}, stages={"conv1": 0.1})
        return json.loads(codec.dumps(judge(baseline_of(other), baseline_of(report), rules)))
    return json.loads(codec.dumps(compare(report, other)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_shipped_schema_is_what_the_records_say(name):
    # After a change of a record: python -m shiftaudit.schema
    assert (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") == schema_text(name)
    jsonschema.Draft202012Validator.check_schema(shipped(name))


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_the_program_writes_is_valid(name):
    jsonschema.Draft202012Validator(shipped(name)).validate(written(name))


def test_a_report_with_everything_in_it_is_valid():
    jsonschema.Draft202012Validator(shipped("report")).validate(json.loads(codec.dumps(fake_report())))


@pytest.mark.parametrize("name", SCHEMAS)
def test_missing_unknown_and_mistyped_fields_are_invalid(name):
    validator, data = jsonschema.Draft202012Validator(shipped(name)), written(name)
    missing, unknown, mistyped, old = (copy.deepcopy(data) for _ in range(4))
    del missing["tool_version"]
    unknown["extra"] = 1
    mistyped["tool_version"] = 1
    old["schema_version"] = 0
    for broken in (missing, unknown, mistyped, old):
        assert not validator.is_valid(broken)
