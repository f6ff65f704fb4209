"""Fuzzing: random input that knows the grammar of what it attacks, and mutations of it.

Owns a target for each reader of foreign bytes: the server's, bodies at the gateway, streams at decoder and lanes, whole
calls against a provider that fails, segments of the log, snapshots, configuration files. A target makes a case from a
seed and checks promises on it; it never looks for crashes alone.
Entry: `python -m tools.fuzz --seconds 600`, `--replay FILE`; `python -m tools.fuzz.trial` plants bugs and counts finds.
"""
