"""`shiftaudit score` and `shiftaudit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.write_report import Html, NoImages, OutputFile, ReportFormat, check_outputs, emit_report


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("score")(score)
    app.command("demo")(demo)


def score(
    model: opt.Model,
    images: opt.Images,
    output_file: OutputFile = None,
    format: ReportFormat = "table",
    html: Html = None,
    no_images: NoImages = False,
    labels: opt.Labels = "auto",
    limit: opt.Limit = None,
    max_skipped: opt.MaxSkipped = None,
    protocol: opt.Protocol = "both",
    shifts: opt.Shifts = "8",
    max_shift: opt.MaxShift = None,
    preset: opt.Preset = None,
    stages: opt.Stages = True,
    stage_views: opt.StageViews = None,
    seed: opt.Seed = 0,
    precision: opt.Precision = None,
    samples: opt.Samples = None,
    resume: opt.Resume = False,
    shard: opt.ShardOf = None,
    batch_size: opt.BatchSize = None,
    workers: opt.Workers = 2,
    device: opt.Device = "cpu",
    autocast: opt.Autocast = False,
    compile: opt.Compile = False,
    weights: opt.Weights = None,
    arch: opt.Arch = None,
    trust: opt.Trust = False,
    size: opt.Size = None,
    resize: opt.Resize = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    interpolation: opt.Interpolation = None,
    channels: opt.Channels = None,
    output: opt.Output = None,
    quiet: opt.Quiet = False,
) -> None:
    """Score MODEL on pictures under circular and cropping shifts: does its answer stay, and where do its features alias?"""
    check_outputs(format, output_file, html, samples, keep=[Path(model)])
    from shiftaudit.cli.run_audit import ImageOptions, run_audit

    pictures = ImageOptions(images, labels, limit, max_skipped)
    pictures.check()
    from shiftaudit.audit.ranks import ranks
    from shiftaudit.audit.run import RunOptions
    from shiftaudit.audit.shards import parse_shard
    from shiftaudit.models import load_model
    from shiftaudit.views.protocol import Settings

    device = ranks().device(device)
    loaded = load_model(
        model,
        opt.model_options(
            weights=weights,
            arch=arch,
            trust=trust,
            size=size,
            resize=resize,
            mean=mean,
            std=std,
            interpolation=interpolation,
            channels=channels,
            output=output,
            seed=seed,
        ),
        device=device,
    )
    settings = Settings(
        protocol=protocol,
        shifts=shifts,
        max_shift=max_shift,
        preset=preset,
        seed=seed,
        stages=stages,
        stage_views=stage_views,
        batch_size=batch_size,
        workers=workers,
        device=device,
        autocast=autocast,
        compile=compile,
    )
    options = RunOptions(samples, resume, parse_shard(shard) if shard else None, precision)
    report = run_audit(loaded, pictures, settings, quiet=quiet, options=options)
    emit_report(report, format, output_file, html, [] if no_images else images)


def demo(
    format: ReportFormat = "table",
    output_file: OutputFile = None,
    html: Html = None,
    no_images: NoImages = False,
    antialiased: Annotated[
        bool, typer.Option("--antialiased", help="Score the twin that filters before it subsamples.")
    ] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Score the bundled sample: a small trained network on 80 crops of real photographs. Needs no network access."""
    check_outputs(format, output_file, html, None)
    from shiftaudit import sample
    from shiftaudit.cli.run_audit import ImageOptions, run_audit
    from shiftaudit.models import load_model
    from shiftaudit.views.protocol import Settings

    path = sample.antialiased_model_path() if antialiased else sample.model_path()
    images = [sample.images_path()]
    report = run_audit(load_model(str(path)), ImageOptions(images), Settings(), quiet=quiet)
    emit_report(report, format, output_file, html, [] if no_images else images)
