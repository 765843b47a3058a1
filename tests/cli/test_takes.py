"""Flags made of records: one description for the command line, the configuration file, the environment and Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from shiftaudit.cli.command import App
from shiftaudit.cli.config import Config
from shiftaudit.cli.takes import but, only, takes, without
from shiftaudit.errors import InputError
from shiftaudit.records.options import Checked, number_or_off, option


def half(text: str) -> float:
    if not text.endswith("/2"):
        raise ValueError("a number of halves")
    return int(text[:-2]) / 2


@dataclass(frozen=True)
class Walk(Checked):
    steps: int = option(3, "How many.", least=1, most=9)
    pace: str = option("slow", "slow or fast.", choices=("slow", "fast"))
    stops: tuple[str, ...] = option((), "Where to rest.")
    rest: float | None = option(None, "Pause.", parse=half)
    back: bool = option(True, "And back.")
    limits: Mapping[str, float] = option(factory=dict, help="By name.", flag="--limit", metavar="NAME=X")
    seed: int = option(0, "Of the way.")
    shoes: int = option(2, least=1, hidden=True)


@dataclass(frozen=True)
class Weather:
    places: tuple[Path, ...] = option(help="Where.", argument=True, metavar="PLACES...")
    seed: int = option(0, "Of the weather.")


def run(command: Any, *words: str, config: Config | None = None, **environment: str) -> None:
    app = App(context_settings={"auto_envvar_prefix": "TEST"})
    app.command("walk")(takes(command))
    app.callback()(lambda: None)
    typer.main.get_command(app).main(["walk", *words], prog_name="x", standalone_mode=False, obj=config)


def made(*words: str, config: Config | None = None) -> tuple[Walk, Weather, bool]:
    seen: list[tuple[Walk, Weather, bool]] = []

    def command(walk: Walk, weather: Weather, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        seen.append((walk, weather, loud))

    run(command, *words, config=config)
    return seen[0]


def test_what_is_not_given_is_the_records_own_default() -> None:
    assert made("here") == (Walk(), Weather((Path("here"),)), False)


def test_every_kind_of_field_is_read_from_its_flag() -> None:
    words = "a b --steps 5 --pace fast --stops inn --stops oak --rest 3/2 --no-back --limit x=0.5 --loud"
    walk, weather, loud = made(*words.split(" "))
    assert walk == Walk(5, "fast", ("inn", "oak"), 1.5, False, {"x": 0.5})
    assert weather.places == (Path("a"), Path("b"))
    assert loud


def test_one_flag_fills_the_field_of_that_name_in_every_record() -> None:
    walk, weather, _ = made("here", "--seed", "7")
    assert (walk.seed, weather.seed) == (7, 7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--steps 0", "--steps got 0; expected at least 1 and at most 9"),
        ("--pace brisk", "--pace got 'brisk'; expected slow or fast"),
        ("--rest 3", "--rest got '3'; expected a number of halves"),
        ("--limit x", "--limit got 'x'; expected NAME=NUMBER"),
        ("--limit x=much", "--limit of x got 'much'; expected a number, or off"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_flag(words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made("here", *words.split())


@pytest.mark.parametrize("change", [{"steps": 10}, {"pace": "brisk"}, {"shoes": 0}, {"steps": float("nan")}])
def test_the_same_ranges_hold_in_python(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(change))} got"):
        Walk(**change)


def test_a_table_of_the_configuration_goes_below_the_flags_key_by_key() -> None:
    config = Config(tables={"walk.limit": {"x": 0.1, "y": 0.2, "z": 0.3}})
    assert made("here", "--limit", "x=0.9", "--limit", "y=off", config=config)[0].limits == {"x": 0.9, "z": 0.3}


def test_a_command_takes_some_options_of_a_record_and_describes_them_otherwise() -> None:
    seen: list[Walk] = []

    def command(walk: Annotated[Walk, only("steps", "rest", steps={"flag": "--far", "default": 8})]) -> None:
        seen.append(walk)

    run(command)
    run(command, "--far", "2")
    assert [walk.steps for walk in seen] == [8, 2]
    with pytest.raises(Exception, match="--pace"):
        run(command, "--pace", "fast")


def test_help_and_default_can_be_changed_for_one_command() -> None:
    def command(walk: Annotated[Walk, but(back={"default": False, "help": "Come home."})]) -> None: ...
    def fewer(walk: Annotated[Walk, without("back")]) -> None: ...

    parameters = takes(command).__signature__.parameters  # type: ignore[attr-defined]
    assert parameters["back"].default is False
    assert parameters["back"].annotation.__metadata__[0].help == "Come home."
    assert "back" not in takes(fewer).__signature__.parameters  # type: ignore[attr-defined]
    assert "shoes" not in parameters


def test_off_and_numbers_only() -> None:
    assert number_or_off(0.5) == 0.5
    for wrong in ("x", True, None, [1]):
        with pytest.raises(ValueError, match="a number, or off"):
            number_or_off(wrong)
