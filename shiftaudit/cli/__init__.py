"""The command line: parse, call, render, exit. The only package that imports Typer; nothing here imports torch at the top."""
