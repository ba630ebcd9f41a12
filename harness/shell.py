"""What the command lines share: a parser with one-line complaints, seeds, devices, a file to write, the exit status."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from harness.errors import UserError
from harness.registry import suggest


class Parser(argparse.ArgumentParser):
    """argparse with our one line in place of usage and exit, and a suggestion for an option that it does not know."""

    def __init__(self, prog: str, description: str | None):
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
            message = f"unknown option {unknown[0]}{suggest(unknown[0].partition('=')[0], known).rstrip('?')}"
        raise UserError(f"{message}; see {self.prog} --help")


def seeds(text: str) -> list[int]:
    """'0,1,2' -> [0, 1, 2]: each once, in order of size."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise UserError(f"seeds: whole numbers with commas wanted, found {text!r}") from None
    if found[0] < 0:
        raise UserError(f"seeds: 0 or more wanted, found {found[0]}")
    return found


def without_out(argv: Sequence[str]) -> list[str]:
    """What makes the same files again: not the folder of this machine that they went to."""
    at = [i for i, part in enumerate(argv) if part == "--out"]
    left_out = {*at, *(i + 1 for i in at)}
    return [part for i, part in enumerate(argv) if i not in left_out and not part.startswith("--out=")]


def device(name: str) -> str:
    """'auto' is cuda where there is one, else cpu. Raises UserError for a device that cannot be used here."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try --device cpu"
        ) from error
    return name


def writable(path: Path, option: str) -> None:
    """Raise UserError unless a file can be written there, itself untouched and no folder made."""
    try:
        folder = path.is_dir()
        above = next(place for place in path.absolute().parents if place.exists())
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise UserError(f"{option} {path} cannot be written ({error.strerror or error}); give another place") from None
    if folder:
        raise UserError(f"{option} {path} is a folder: a file wanted, such as {path / 'seed0.safetensors'}")


def guarded(command: Callable[[list[str]], int], argv: Sequence[str]) -> int:
    """Run a command line. Exit status: 0 done, 2 a line to read, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without our dashes must not end a finished run
    try:
        return command(list(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
