"""`make verify-1`, `make verify-2`: every promise of an issue, tried and measured here and now.

A check is a line of the issue's table in `table`: either a file in `checks/` with a function
`run(context) -> list[Line]`, or tests with the promises they try. A line of the report is one promise: PASS, FAIL,
or NOT RUN with the reason. What could not be found out never counts as passed.
"""
