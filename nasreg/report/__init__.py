"""The page that explains a run: ``index.html`` in its directory, complete in itself. Imports no torch."""

from nasreg.report.commands import Command, next_commands
from nasreg.report.page import REPORT, write_report

__all__ = ["REPORT", "Command", "next_commands", "write_report"]
