"""JSON Schemas (draft 2020-12) of the files this program writes, made from the records so that they cannot disagree.

`python -m shiftaudit.schema` writes them to `shiftaudit/schemas/` after a record has changed. No torch.
"""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from shiftaudit.records.gate import BASELINE_SCHEMA_VERSION, GATE_SCHEMA_VERSION, Baseline, Comparison, GateResult
from shiftaudit.records.report import SCHEMA_VERSION, AuditReport

FOLDER = Path(__file__).parent / "schemas"
SCHEMAS: dict[str, tuple[type, int]] = {
    "report": (AuditReport, SCHEMA_VERSION),
    "baseline": (Baseline, BASELINE_SCHEMA_VERSION),
    "gate": (GateResult, GATE_SCHEMA_VERSION),
    "compare": (Comparison, GATE_SCHEMA_VERSION),
}
_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", types.NoneType: "null"}


def json_schema(record: type, version: int) -> dict[str, Any]:
    """The schema of a record class with a `schema_version` field, which must hold `version`."""
    definitions: dict[str, Any] = {}
    schema = _object(record, definitions)
    schema["properties"]["schema_version"] = {"const": version}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": record.__name__,
        **schema,
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _object(record: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(record)
    return {
        "description": " ".join((record.__doc__ or "").split()),
        "type": "object",
        "properties": {field.name: _schema(hints[field.name], definitions) for field in fields(record)},
        "required": [field.name for field in fields(record) if field.default is MISSING],
        "additionalProperties": False,
    }


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(argument, definitions) for argument in arguments]}
    if origin is dict:
        names = {} if arguments[0] is str else {"propertyNames": _schema(arguments[0], definitions)}
        return {"type": "object", **names, "additionalProperties": _schema(arguments[1], definitions)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is tuple:
        items = [_schema(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    raise TypeError(f"no JSON Schema for {hint!r}")


def schema_text(name: str) -> str:
    """The schema called `report`, `baseline`, `gate` or `compare`, as JSON ending in a newline."""
    record, version = SCHEMAS[name]
    return json.dumps(json_schema(record, version), indent=1) + "\n"


if __name__ == "__main__":
    for schema_name in SCHEMAS:
        (FOLDER / f"{schema_name}.schema.json").write_text(schema_text(schema_name), encoding="utf-8", newline="\n")
