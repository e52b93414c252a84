"""The former name of ``argv``."""

from __future__ import annotations

from argv import check_refused

__all__ = ["check_refused"]
