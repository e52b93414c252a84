"""A terminal and a clock for tests of the progress display."""

from __future__ import annotations

import re


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Screen:
    """The little of a terminal that the bar uses: what stands where, and whether the cursor is shown."""

    def __init__(self, width):
        self.width, self.rows, self.row, self.column = width, [""], 0, 0
        self.cursor = True

    def feed(self, text):
        for piece in re.findall(r"\x1b\[[?0-9;]*[a-zA-Z]|.|\n|\r", text):
            if piece == "\n":
                self.row, self.column = self.row + 1, 0
            elif piece == "\r":
                self.column = 0
            elif piece in ("\x1b[?25l", "\x1b[?25h"):
                self.cursor = piece.endswith("h")
            elif piece.endswith("A") and piece.startswith("\x1b"):
                self.row -= int(piece[2:-1] or 1)
            elif piece == "\x1b[2K":
                self.rows[self.row] = ""
            elif piece.startswith("\x1b"):
                assert piece.endswith("m"), repr(piece)
            else:
                if self.column == self.width:
                    self.row, self.column = self.row + 1, 0
                    self.grow()
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + piece + line[self.column + 1 :]
                self.column += 1
            self.grow()
        return self

    def grow(self):
        self.rows += [""] * (self.row + 1 - len(self.rows))

    @property
    def lines(self):
        return [row.rstrip() for row in self.rows if row.strip()]
