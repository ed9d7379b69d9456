"""From the TOML of a rules file to a `Program`. Every problem is found, each with its line and the nearest word.

`plain` reads TOML, `parts` what sections have in common, `sections` each section and the whole; `work` bounds it.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation

from accrue.core.program import TEXT_SIZE_BYTES_MAX, Problem, Program, ProgramError
from accrue.core.reader.sections import Sections
from accrue.core.reader.work import too_much

__all__ = ["read"]


def read(text: str, *, file: str = "program") -> Program:
    """The program that `text` says. Raises `ProgramError` with every problem."""
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ProgramError([Problem(line, "half of a surrogate pair is no character")], file=file) from None
    if size_bytes > TEXT_SIZE_BYTES_MAX:
        raise ProgramError([Problem(1, f"a program has at most {TEXT_SIZE_BYTES_MAX} bytes")], file=file)
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError, InvalidOperation) as error:  # what is no TOML, too deep or a number too long
        line = getattr(error, "lineno", None) or _line_in(str(error))
        raise ProgramError([Problem(line, f"not TOML: {error}")], file=file) from None
    reader = Sections(text, document)
    program = reader.program()
    if reader.problems or program is None:
        raise ProgramError(reader.problems, file=file)
    problems = list(too_much(program))
    if problems:
        raise ProgramError(problems, file=file)
    return program


def _line_in(message: str) -> int:
    digits = message.partition("line ")[2].partition(",")[0].partition(")")[0]
    return int(digits) if digits.isdigit() else 1
