"""The class of every command: refuses an option that is given twice, and a value that is empty. Imports no torch.

typer takes the last of two values without a word. An empty value is nearly always a shell variable that is not set; as
a path it would mean the current directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

from nasreg.errors import UsageError


class Command(TyperCommand):
    """A command of ``nasreg``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after a check of their form.

        Raises:
            UsageError: A value is empty, or an option that holds one value is given twice.
        """
        seen = set()
        for option, value in _parts(self.params, args):
            name = max(option.opts, key=len) if option is not None else "an argument"
            if value == "":
                raise UsageError(f"{name} is empty: give a value, or leave it out")
            if option is None or value is None or option.multiple:
                continue
            if name in seen:
                raise UsageError(f"{name} is given twice: give it once")
            seen.add(name)
        return super().parse_args(ctx, args)


def _parts(parameters: Sequence[Any], args: Sequence[str]) -> Iterator[tuple[Any, str | None]]:
    """Yield each option with its value, None for a flag, and each argument without an option."""
    options = {name: each for each in parameters for name in each.opts if name.startswith("-")}
    rest = iter(args)
    for word in rest:
        if word == "--":
            yield from ((None, each) for each in rest)
        elif not word.startswith("-") or word == "-":
            yield None, word
        else:
            name, equals, value = word.partition("=")
            if not word.startswith("--"):
                name, value, equals = word[:2], word[2:], word[2:]
            option = options.get(name)
            if option is not None:
                flag = option.is_flag
                yield option, None if flag else value if equals else next(rest, None)
