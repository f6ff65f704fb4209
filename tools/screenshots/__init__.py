"""The pictures of the console in docs/images/console: one of every page, made anew by `make screenshots`.

Owns which pages are shown, and how small the files are.
Promises: the pictures are of a demo that is started for them, in a folder of its own, and ends with them.
Entry: `python -m tools.screenshots [FOLDER]`.
"""
