"""``nasreg check``: everything that can be found out about a search without running it, all findings at once."""
