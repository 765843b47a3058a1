"""A refit on a terminal: layer by layer, the error before and after."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from shiftaudit.records.refit import LayerRecord, RefitRecord
from shiftaudit.render.terminal import Terminal, table, to_text


def render_refit(record: RefitRecord, *, output: str = "", terminal: Terminal | None = None) -> str:
    """What was fitted, and what error is left; `output` is the file that was written."""
    return to_text(lambda console: _draw(console, record, output), terminal or Terminal())


def _draw(console: Console, record: RefitRecord, output: str) -> None:
    if not record.layers:
        console.print(Text("No layer was fitted: the copy computes what its original does."))
    else:
        _draw_layers(console, record.layers)
    where = f"{record.n_crops} crops of {record.n_images} images"
    held = f", {record.n_holdout} of them held out to choose the ridge" if record.n_holdout else ""
    console.print(
        Text(f"Fitted on {where}{held}. Error: relative squared error of a layer's output, 0 is the original's.")
    )
    if record.left:
        console.print(Text("left: " + "; ".join(f"{layer.name}: {layer.reason}" for layer in record.left)))
    if output:
        console.print(Text(f"wrote {output}\ncheck:   shiftaudit score {output} IMAGES"))


def _draw_layers(console: Console, layers: tuple[LayerRecord, ...]) -> None:
    held = any(layer.held_error is not None for layer in layers)
    fitted = table("layer", right=("ridge", "error before", "after", *(("held-out before", "after") if held else ())))
    for layer in layers:
        errors = [layer.error_before, layer.error] + ([layer.held_error_before, layer.held_error] if held else [])
        ridge = "kept" if layer.ridge is None else f"{layer.ridge:g}"
        cells = ("" if error is None else f"{error:.4f}" for error in errors)
        fitted.add_row(layer.name.removesuffix(".weight"), ridge, *cells)
    console.print(fitted)
