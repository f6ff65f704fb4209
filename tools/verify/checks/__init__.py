"""The checks, one file each: `run(context) -> list[Line]`."""
