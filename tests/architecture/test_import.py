"""`import trimtab` is cheap, and touches nothing but Python files."""

import json
import subprocess
import sys

CPU_LIMIT_S = 0.15
TRIES = 5

WATCHED_IMPORT = """
import json, site, sys, sysconfig
names = ("stdlib", "platstdlib", "purelib", "platlib")
allowed = tuple({sysconfig.get_path(n) for n in names} | {sys.prefix, SOURCE})
seen = []
def watch(event, arguments):
    if event == "open":
        path, mode = arguments[0], arguments[1]
        if isinstance(path, int):
            return
        path = path.decode() if isinstance(path, bytes) else str(path)
        writes = isinstance(mode, str) and any(c in mode for c in "wax+")
        if writes or not path.startswith(allowed):
            seen.append(f"open {path} {mode}")
    elif event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system",
                           "sqlite3.", "_thread.start", "os.mkdir", "os.remove", "os.rename", "urllib.")):
        seen.append(f"{event} {arguments!r}")
sys.addaudithook(watch)
import trimtab
during = list(seen)
print(json.dumps(during))
"""


def test_importing_opens_nothing_and_starts_nothing(root):
    program = WATCHED_IMPORT.replace("SOURCE", repr(str(root / "src")))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_importing_costs_little_cpu():
    program = "import resource as r; a = r.getrusage(r.RUSAGE_SELF); print(a.ru_utime + a.ru_stime)"
    bare = min(cpu_s(program) for _ in range(TRIES))
    loaded = min(cpu_s("import trimtab; " + program) for _ in range(TRIES))
    assert loaded - bare <= CPU_LIMIT_S


def test_importing_the_client_loads_no_server(root):
    program = (
        "import sys; from trimtab import Client; "
        "heavy = ('uvloop', 'starlette', 'apsw', 'cyclopts', 'rich', 'numpy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def cpu_s(program: str) -> float:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)
