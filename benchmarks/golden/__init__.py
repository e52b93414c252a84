"""Readers of the files that ``fidelity.py`` compares with, apart from DARTS: a module for each program.

A module has two functions: ``recognises(content)`` says whether a file that was read is in one of its formats, and
``checks(content, path)`` compares nasreg with it, quantity by quantity; files beside ``path`` may belong to it. A
module whose ``RUNS_SEARCHES`` is true runs searches to compare their means; its ``checks`` takes ``seeds``, too.
"""
