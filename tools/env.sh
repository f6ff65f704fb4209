#!/bin/sh
# Make sure of .venv: tools/env.sh run (the product, with [local]) or dev (the test tools too).
# Costs some milliseconds when there is nothing to do: a stamp holds a checksum of pyproject.toml and of where we stand
# (an environment does not survive being moved).
set -eu
want=${1:?usage: tools/env.sh run|dev}
cd "$(dirname "$0")/.."
key=$({ pwd -P; cat pyproject.toml; } | cksum)
stamp=.venv/.made-for-$want
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$key" ]; then
  exit 0
fi

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
  if usable "$python"; then
    exec "$python" tools/env.py "$want" "$key"
  fi
done
cat >&2 <<'END'
Trimtab needs Python 3.11 or newer with its venv module, and found none (tried: $PYTHON, python3, python3.11 to .14).
On Debian and Ubuntu, as root: apt install python3 python3-venv. Elsewhere see python.org/downloads, or name one:
PYTHON=/path/to/python3.12 make up
END
exit 3
