"""The child processes, each started as `python -m trimtab.serve.child NAME --life FD`.

Owns what each kind of process does between its start and its end: worker, recorder, control, model.
Promises: a child ends in order on SIGTERM, and when its supervisor is gone, however that died.
Never starts a process of its own.
Entry: `__main__`.
"""
