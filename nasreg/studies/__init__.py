"""Studies: several searches under one protocol, what they found, and whether the difference means anything.

``planning`` says which runs a study has, ``execution`` computes those that are missing, ``collection`` reads them back,
``protocol`` keeps apart what cannot be compared, ``statistics`` and ``judging`` judge, ``tables`` and ``page`` show.
"""
