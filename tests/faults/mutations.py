"""Damage done to files: to their bytes, to what their JSON says, and to what stands inside archives and tensor files."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from typing import Any

_BYTES = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"[" * 3000,
    b"9" * 5000,
    b"NaN",
    b"-1",
    b"1e999",
    b'"\\ud800"',
    b"null",
    b"{}",
    b"\n::error::x",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    10**18,
    0.5,
    1e300,
    "",
    "x",
    "\n::stop-commands::t",
    "\x1b[2J",
    "../../x",
    [],
    {},
    [[]],
)


def mutated(name: str, data: bytes, chance: random.Random) -> bytes:
    """One of the ways to damage a file of this name; where its contents cannot be taken apart, its bytes."""
    if chance.random() < 0.5:
        return bytes_mutated(data, chance)
    if name.endswith(".json"):
        return json.dumps(json_mutated(json.loads(data), chance)).encode()
    if name.endswith(".jsonl"):
        return _lines_mutated(data, chance)
    if name.endswith(".safetensors"):
        return _safetensors_mutated(data, chance)
    if zipfile.is_zipfile(io.BytesIO(data)):
        return _zip_mutated(data, chance)
    return bytes_mutated(data, chance)


def bytes_mutated(data: bytes, chance: random.Random) -> bytes:
    """One to three edits of bytes: flipped, cut out, doubled, cut short, or odd values put in."""
    edited = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(edited) + 1)
        length = chance.choice((1, 2, 8, 100))
        edit = chance.randrange(5)
        if edit == 0 and place < len(edited):
            edited[place] ^= 1 << chance.randrange(8)
        elif edit == 1:
            del edited[place : place + length]
        elif edit == 2:
            edited[place:place] = edited[place : place + length]
        elif edit == 3:
            edited[place : place + length] = chance.choice(_BYTES)
        elif chance.random() < 0.3:
            del edited[place:]
    return bytes(edited)


def json_mutated(value: Any, chance: random.Random) -> Any:
    """One value somewhere inside is replaced, nudged, removed or doubled; the text stays well-formed."""
    root = [copy.deepcopy(value)]
    holder, key = root, 0
    while isinstance(holder[key], (dict, list)) and holder[key] and chance.random() < 0.85:
        holder = holder[key]
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    edit = chance.randrange(4)
    if edit == 0 and holder is not root:
        del holder[key]
    elif edit == 1 and isinstance(holder, list) and holder is not root:
        holder.insert(key, copy.deepcopy(holder[key]))
    elif edit == 2 and isinstance(holder[key], (int, float)):
        holder[key] += chance.choice((-1, 1, 0.1, 1e6))
    else:
        holder[key] = chance.choice(_VALUES)
    return root[0]


def _lines_mutated(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines()
    place = chance.randrange(len(lines))
    edit = chance.randrange(3)
    if edit == 0:
        del lines[place]
    elif edit == 1:
        lines.insert(chance.randrange(len(lines)), lines[place])
    else:
        lines[place] = json.dumps(json_mutated(json.loads(lines[place]), chance)).encode()
    return b"\n".join(lines) + b"\n"


def _safetensors_mutated(data: bytes, chance: random.Random) -> bytes:
    """Its header says something else: eight bytes of length, JSON, then the tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json_mutated(json.loads(data[8 : 8 + length]), chance)).encode()
    said = len(header) if chance.random() < 0.8 else chance.choice((0, 2**40, len(data)))
    return struct.pack("<Q", said) + header + data[8 + length :]


def _zip_mutated(data: bytes, chance: random.Random) -> bytes:
    """One member is damaged, lost, renamed or there twice, in an archive that is whole otherwise."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as target:
        members = source.namelist()
        # What the tool itself wrote about the file is the likeliest to be believed.
        chosen = chance.choice([name for name in members if name.endswith("shiftaudit.json")] or members)
        chosen = chosen if chance.random() < 0.5 else chance.choice(members)
        for name in members:
            content, kept = source.read(name), name
            if name == chosen:
                edit = chance.randrange(4)
                if edit == 0:
                    continue
                content = mutated(name, content, chance) if edit < 3 else content
                kept = name if edit != 3 else chance.choice(("../" + name, "/" + name, name + "\n"))
            target.writestr(kept, content)
    return made.getvalue()
