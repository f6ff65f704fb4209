"""`make verify-1`: every promise of the first issue that has a figure, measured here and now.

A check is a file in `checks/` with a function `run(context) -> list[Line]`, named in `table.CHECKS`. A line
is one promise: PASS, FAIL, or NOT RUN with the reason. What could not be found out never counts as passed.
"""
