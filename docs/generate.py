"""Writes the pages of docs/reference that are read from the code, so that they cannot lie.

    python docs/generate.py            write them
    python docs/generate.py --check    say which ones are not what the code says; exit code 1 if any

A page is one function here that returns its text. `make docs` runs this, tests/house checks that nothing is stale.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import typer
from typer.testing import CliRunner

from accrue import config
from accrue.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "accrue"
REFERENCE = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by `make docs` from the code; a change made here is lost. -->\n"


class Limit(NamedTuple):
    """A constant whose name ends in _MAX: what is past it is refused, cut or made to wait."""

    module: str
    name: str
    why: str


def settings() -> str:
    """What can be set in accrue.toml: name, default, bounds, one table a section."""
    text = f"# Settings\n\n{WRITTEN}\n```toml\n{_example()}```\n\n{_after_example()}\n"
    for section, struct in _sections(config.Config):
        title = f"`[{section}]`" if section else "On top"
        text += f"\n## {title}\n\n{_one_line(struct.__doc__)}\n\n| setting | kind | default |\n|---|---|---|\n"
        for field in msgspec.structs.fields(struct):
            if not (isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)):
                default = field.default
                if default is msgspec.NODEFAULT:
                    default = field.default_factory()
                text += f"| `{field.encode_name}` | {_kind(struct, field.name)} | {_shown(default)} |\n"
    return text


def limits() -> str:
    """Every limit of the code, by the part that has it."""
    text = f"# Limits\n\n{WRITTEN}\nEverything that could grow has a bound with a name.\n"
    part = ""
    for limit in _limits():
        if limit.module.split(".")[0] != part:
            part = limit.module.split(".")[0]
            text += f"\n## {part}\n\n| limit | value | where | what for |\n|---|---|---|---|\n"
        value = getattr(importlib.import_module(f"accrue.{limit.module}"), limit.name)
        text += f"| `{limit.name}` | {_shown(value)} | `{limit.module}` | {limit.why} |\n"
    return text


def commands() -> str:
    """What every command says of itself with --help."""
    text = f"# Commands\n\n{WRITTEN}"
    for words in _commands(app):
        shown = CliRunner().invoke(app, [*words, "--help"], prog_name="accrue", env={"COLUMNS": "80"}).output
        lines = [line.rstrip() for line in shown.strip().splitlines()]
        text += "\n".join(["", f"## {' '.join(['accrue', *words])}", "", "```text", *lines, "```", ""])
    return text


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands,
    "limits.md": limits,
    "settings.md": settings,
}


def stale() -> list[str]:
    """The pages that are not what the code says now."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).is_file() or (REFERENCE / name).read_text(encoding="utf-8") != page()
    ]


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args().check
    names = stale()
    for name in names:
        if not check:
            REFERENCE.mkdir(exist_ok=True)
            (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}: {'stale' if check else 'written'}\n")
    return 1 if check and names else 0


def _limits() -> Iterator[Limit]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            name = _assigned(node)
            if name.endswith("_MAX") and not name.startswith("_"):
                said = after.value if isinstance(after, ast.Expr) else None
                why = said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else ""
                yield Limit(module, name, _one_line(why))


def _commands(group: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups before what is in them."""
    yield words
    for command in group.registered_commands:
        name = str(command.name or getattr(command.callback, "__name__", ""))
        yield (*words, name)
    for part in group.registered_groups:
        if part.typer_instance is not None and part.name:
            yield from _commands(part.typer_instance, (*words, part.name))


def _assigned(node: ast.stmt) -> str:
    """The name that a statement assigns to, or nothing."""
    if isinstance(node, ast.AnnAssign):
        target: ast.expr = node.target
    elif isinstance(node, ast.Assign):
        target = node.targets[0]
    else:
        return ""
    return target.id if isinstance(target, ast.Name) else ""


def _sections(struct: type[msgspec.Struct], name: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield name, struct
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _sections(field.type, f"{name}.{field.encode_name}".lstrip("."))


def _example() -> str:
    """The sample file in the docstring of config.py, as it stands there."""
    lines = (config.__doc__ or "").splitlines()
    sample = [line[4:] for line in lines if line.startswith("    ") or not line]
    return "\n".join(sample).strip("\n") + "\n"


def _after_example() -> str:
    """What that docstring says below its sample."""
    lines = (config.__doc__ or "").rstrip().splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith("    "))
    return "\n".join(lines[last + 1 :]).strip()


def _kind(struct: type[msgspec.Struct], name: str) -> str:
    """A type as an operator reads it, with its bounds."""
    hint = get_type_hints(struct, include_extras=True)[name]
    plain, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    text = words.get(plain) or ("table of paths" if "Mapping" in str(plain) else "path")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [
        f"{sign} {getattr(meta, bound):,}"
        for meta in more
        for bound, sign in signs.items()
        if getattr(meta, bound, None) is not None
    ]
    return ", ".join([text, *bounds])


def _shown(value: object) -> str:
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"`{value}`" if not isinstance(value, Path) else f"`{value.as_posix()}`"
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"{value >> 20:,} Mi"
    if isinstance(value, int) and value >= 1 << 32 and value & (value + 1) == 0:
        return f"2^{value.bit_length()}-1"
    return f"{value:,}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
