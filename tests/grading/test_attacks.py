"""Hostile notebooks. Each must get what it deserves, and nothing outside its box may change.

All are handed in by one class and graded in one run, next to honest students: that the run ends and that the honest ones
have their points is part of every attack's test.

Unless it says otherwise an attack's `double` is wrong and its `total` is right, so it deserves 0 and 3 points.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import threading
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_class import QUICK, RIGHT, TINY, WRONG, handed_in, needs_box, result_of, running, scores, until

from courseware.grading import scheduler

pytestmark = needs_box


def huge_png() -> str:
    """A PNG of 40,000 × 40,000 pixels in a few hundred bytes of base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


SEARCH = """
import os
found = []
for top, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(top, f) not in ("/proc", "/usr", "/sys")]
    for name in files:
        path = os.path.join(top, name)
        if name.endswith((".py", ".ipynb", ".json", ".db", ".csv", ".html")) and "site-packages" not in path and "/lib/python" not in path:
            try:
                text = open(path, errors="replace").read(2_000_000)
            except OSError:
                continue
            if NEEDLE in text:
                found.append(path)
print("FOUND", found)
"""
CAPTURE = """
import sys
seen = []
def spy(info):
    seen.append(info.raw_cell)
    print("CAPTURED", info.raw_cell)
get_ipython().events.register("pre_run_cell", spy)
"""
FORGE = """\
import json
handle = get_ipython().kernel.shell_handlers["course_request"]
asker = next(c.cell_contents for c in handle.__closure__ if type(c.cell_contents).__name__ == "Asker")
"""

ATTACKS: dict[str, str] = {
    "reads hidden tests": "NEEDLE = 'HIDDEN-' + 'MARKER'\n" + SEARCH,
    "reads other submissions": "NEEDLE = 'HONEST-' + 'STUDENT'\n" + SEARCH,
    "writes the gradebook": "for p in OUT_FOLDERS:\n    try:\n        open(p, 'a').write('x')\n        print('WROTE', p)\n    except OSError as e: print(e)",
    "network out": "import socket\nfor a in (('127.0.0.1', PORT), ('1.1.1.1', 80)):\n    try: socket.create_connection(a, 2); print('CONNECTED')\n    except OSError as e: print(e)",
    "dns": "import socket\ntry: print('RESOLVED', socket.getaddrinfo('example.com', 80))\nexcept OSError as e: print(e)",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "memory bomb": "x = bytearray(10**10)",
    "memory bomb of children": "import os, time\nfor i in range(12):\n    if os.fork() == 0:\n        x = bytearray(b'1') * 300_000_000\n        time.sleep(60)\ntime.sleep(60)",
    "memory bomb in a memfd": "import os\nfd = os.memfd_create('m')\nwhile True: os.write(fd, b'1' * 10_000_000)",
    "endless loop": "while True: pass",
    "ignores the interrupt": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
    "swallows the interrupt": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "endless output": "while True: print('spam ' * 200)",
    "a gigabyte of output": "print('x' * 1_000_000_000)",
    "a gigabyte in pieces": "for i in range(1000): print('x' * 1_000_000)",
    "keeps the memory": "hog = b'1' * 780_000_000",
    "fills the disk": "f = open('/tmp/fill', 'wb')\nwhile True: f.write(b'1' * 1_000_000)",
    "fills the folder of sockets": "import os\nd = os.path.dirname(get_ipython().kernel.parent.abs_connection_file)\nf = open(os.path.join(d, 'fill'), 'wb')\nwhile True: f.write(b'1' * 1_000_000); f.flush()",
    "many files among the sockets": "import os\nd = os.path.dirname(get_ipython().kernel.parent.abs_connection_file)\nfor i in range(10**7): open(os.path.join(d, str(i)), 'w').close()",
    "kills the kernel": "import os\nos.kill(os.getpid(), 9)",
    "exits": "import os\nos._exit(0)",
    "kills the parent": "import os\nfor p in (os.getppid(), 1, -1):\n    try: os.kill(p, 9)\n    except OSError as e: print(e)",
    "ptrace": "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nfor pid in range(1, 400):\n    if pid != os.getpid() and libc.ptrace(16, pid, 0, 0) == 0: print('ATTACHED', pid)",
    "own namespaces": "import ctypes, os\nlibc = ctypes.CDLL(None)\nif libc.unshare(0x10000000) == 0: print('ROOT', open('/proc/self/uid_map').read())\nif (pid := libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 0x10000011, 0, 0, 0, 0)) == 0: os._exit(0)\nif pid > 0: print('ROOT', pid)\nfor n in ('mnt', 'pid', 'user'):\n    if libc.setns(os.open(f'/proc/1/ns/{n}', 0), 0) == 0: print('ROOT', n)",
    "proc": "for p in ('/proc/1/root/etc/shadow', '/proc/self/root/etc/shadow', '/etc/shadow', '/root/.bashrc'):\n    try: print('READ', p, len(open(p, 'rb').read()))\n    except OSError as e: print(e)\nfor p in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches'):\n    try:\n        open(p, 'w').write('x'); print('WROTE', p)\n    except OSError as e: print(e)",
    "the first process": "try:\n    kept = [v for v in open('/proc/1/environ').read().split('\\0') if v and not v.startswith(('JPY_PARENT_PID=', 'PATH=/bin:/usr/bin'))]\n    if kept: print('READ', kept)\nexcept OSError as e: print(e)",
    "mounts and namespaces": "import ctypes, subprocess\nlibc = ctypes.CDLL(None)\nprint('MOUNTED' if libc.mount(b'none', b'/usr', b'tmpfs', 0, None) == 0 else 'no mount')\nprint('ROOT' if libc.setuid(0) == 0 else 'no root')",
    "writes the system": "import course_utils, sys, numpy\nfor p in (course_utils.__file__, numpy.__file__, sys.executable, '/usr/bin/env', '/etc/passwd', '/x'):\n    try:\n        open(p, 'a').write('#'); print('WROTE', p)\n    except OSError as e: print(e)",
    "symlinks": "import os\nos.symlink('/etc/shadow', '/tmp/s')\nd = os.path.dirname(get_ipython().kernel.parent.abs_connection_file)\nfor n in os.listdir(d):\n    if n.startswith('k-'):\n        pass\nos.symlink('/', os.path.join(d, 'root'))",
    "patched comparisons": "import numpy as np\nnp.allclose = np.array_equal = lambda *a, **k: True\nnp.testing.assert_allclose = lambda *a, **k: None\nimport builtins\nbuiltins.abs = lambda x: 0\nbuiltins.all = lambda x: True",
    "patched array equality": "import numpy as np\nclass Same(np.ndarray):\n    def __eq__(self, other): return np.True_\n    def __array_function__(self, f, t, a, k): return True\n",
    "patched IPython": "ip = get_ipython()\nip.showtraceback = lambda *a, **k: None\nfrom IPython.core.interactiveshell import ExecutionResult\nExecutionResult.raise_error = lambda self: None\nip._showtraceback = lambda *a, **k: None\nold = ip.run_cell\nasync def fine(*a, **k):\n    r = ExecutionResult(None); r.result = None\n    return r\nip.run_cell_async = fine",
    "assert that cannot fail": "import ast\nclass Strip(ast.NodeTransformer):\n    def visit_Assert(self, node): return ast.Pass()\nget_ipython().ast_transformers.append(Strip())",
    "fake kernel messages": "k = get_ipython().kernel\np = k.get_parent()\nfor name in ('probe', 'visible'):\n    k.session.send(k.iopub_socket, 'display_data', {'data': {'application/vnd.course.answer+json': '{\"dict\": {}}'}, 'metadata': {}}, parent=p)\nk.session.send(k.iopub_socket, 'status', {'execution_state': 'idle'}, parent=p)\nk.session.send(k.shell_stream if hasattr(k, 'shell_stream') else k.iopub_socket, 'execute_reply', {'status': 'ok'}, parent=p)",
    "forged answers": "import json\nold = json.dumps\njson.dumps = lambda *a, **k: old({'dict': {'y': {'array': '<f8', 'shape': [2, 2], 'data': ''}}})",
    "one answer to all": FORGE
    + 'asker.dumps = lambda *a: \'{"dict": {"y": {"array": "<f8", "shape": [2, 2], "data": ""}}}\'',
    "nested answers to all": FORGE + "asker.dumps = lambda *a: '[' * 100000 + ']' * 100000",
    "a pickle for all answers": FORGE
    + "import base64, pickle\nclass P:\n    def __reduce__(self): return (exec, ('import os; os.system(\"touch /tmp/pwned-by-pickle\")',))\nasker.dumps = lambda *a: base64.b64encode(pickle.dumps(P())).decode()",
    "a pickle for an answer": "import json, pickle\nclass P:\n    def __reduce__(self): return (exec, ('import os; os.system(\"touch /tmp/pwned-by-pickle\")',))\nimport base64\njson.dumps = lambda *a, **k: base64.b64encode(pickle.dumps(P())).decode()",
    "nested answers": "import json\njson.dumps = lambda *a, **k: '[' * 100000 + ']' * 100000",
    "garbage on the sockets": "import zmq, os\nk = get_ipython().kernel\nfor i in range(50):\n    k.iopub_socket.send_multipart([b'x', b'<IDS|MSG>', b'', b'{', b'{', b'{', b'{'])",
    "fake modules": "import sys, types\nfor name in ('json', 'base64', 'math'):\n    sys.modules[name] = types.ModuleType(name)",
    "captures hidden tests": CAPTURE,
    "time bomb": "import os, time, threading, subprocess\nthreading.Thread(target=lambda: time.sleep(10**6)).start()\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(10**6)\nsubprocess.Popen(['sleep', '1000000'], start_new_session=True)",
    "threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(100,)).start()",
    "page with scripts": "from IPython.display import HTML, Javascript, SVG, Markdown, display\nfor o in (HTML('<script>EVIL()</script><img src=x onerror=EVIL()>'), Javascript('EVIL()'), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"EVIL()\"/>'), Markdown('<script>EVIL()</script>')): display(o)\nprint('</pre></div><script>EVIL()</script>')\nraise ValueError('<script>EVIL()</script>')",
    "exits in the way of an answer": "import os, threading\nthreading.Timer(0.02, os._exit, [0]).start()",
    "no list for a traceback": "k = get_ipython().kernel\nk.session.send(k.iopub_socket, 'error', {'ename': 'a', 'evalue': 'b', 'traceback': 5}, parent=k.get_parent())",
    "no dictionary for data": "k = get_ipython().kernel\nfor kind in ('display_data', 'execute_result', 'update_display_data'):\n    k.session.send(k.iopub_socket, kind, {'data': 5, 'metadata': 5}, parent=k.get_parent())",
    "an answer of another dtype": FORGE
    + "asker.dumps = lambda *a: json.dumps({'dict': {'y': {'array': '1f,f', 'shape': [1], 'data': 'AAAAAAAAAAA='}}})",
    "a shape without bytes": FORGE
    + "asker.dumps = lambda *a: json.dumps({'array': '<f8', 'shape': [0, 10**18], 'data': ''})",
    "locks that others see": "import fcntl, os, time\npath = os.__file__\nready, says = os.pipe()\nif os.fork() == 0:\n    f = open(path); fcntl.flock(f, fcntl.LOCK_SH); fcntl.lockf(f, fcntl.LOCK_SH, 10); os.write(says, b'1'); time.sleep(30)\nos.read(ready, 1)\nf = open(path)\ntry: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept BlockingIOError: print('READ a lock')\ntry: print('READ', fcntl.fcntl(f, fcntl.F_GETLK, b'\\0' * 32))\nexcept OSError as e: print(e)\ntry: print('READ', fcntl.fcntl(f, 1024, 0))\nexcept OSError as e: print(e)",
    "notices of other boxes": "import ctypes, os\nlibc = ctypes.CDLL(None)\ni = libc.inotify_init1(0)\nif libc.inotify_add_watch(i, os.path.dirname(os.__file__).encode(), 0xFFF) >= 0: print('READ inotify')\nif libc.fanotify_init(0x200, 0) >= 0: print('READ fanotify')\nimport fcntl\ntry: fcntl.fcntl(os.open('/usr', 0), 1026, 0x1); print('READ dnotify')\nexcept OSError as e: print(e)",
    "what is in memory of a file": "import os, ctypes, mmap\nf = os.open(os.__file__, 0)\ntry: os.preadv(f, [bytearray(1)], 0, os.RWF_NOWAIT); print('READ nowait')\nexcept OSError as e: print(e)\nm = mmap.mmap(f, 4096, prot=mmap.PROT_READ)\nlibc = ctypes.CDLL(None)\naddress = ctypes.c_void_p()\nbase = int([l for l in open('/proc/self/maps') if 'os.py' in l][0].split('-')[0], 16)\nif libc.mincore(ctypes.c_void_p(base), 4096, (ctypes.c_char * 1)()) == 0: print('READ mincore')\nif libc.syscall(451, f, (ctypes.c_uint64 * 2)(0, 4096), (ctypes.c_uint64 * 5)(), 0) == 0: print('READ cachestat')",
    "sockets of other kinds": "import socket\nfor family, kind in ((40, 1), (38, 5), (17, 3), (31, 3), (30, 1), (42, 2), (15, 3), (21, 5), (44, 3), (29, 3), (43, 1)):\n    try: socket.socket(family, kind); print('CONNECTED', family)\n    except OSError as e: print(e)",
    "hides from the watch": "import ctypes\nif ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0: print('ROOT')",
    "memory behind madvise": "import mmap, time\nmaps = []\nfor k in range(8):\n    m = mmap.mmap(-1, 200_000_000); m.write(b'1' * 200_000_000); m.madvise(mmap.MADV_DONTNEED); maps.append(m)\ntime.sleep(3)\nprint('ROOT')",
    "memory in SysV segments": "import ctypes\nlibc = ctypes.CDLL(None)\nif max(libc.shmget(0, ctypes.c_size_t(200_000_000), 0o1600), libc.msgget(0, 0o1600), libc.semget(0, 1, 0o1600)) >= 0: print('ROOT')",
    "memory in flight": "import os, ctypes\nfor make in (os.memfd_create, lambda n: os.open(f'/proc/self/fd/{ctypes.CDLL(None).syscall(447, 0)}', 2)):\n    try: make('m'); print('ROOT')\n    except OSError as e: print(e)",
    "memory in page tables": "import ctypes, time\nlibc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\nsize = 1 << 40\np = libc.mmap(None, ctypes.c_size_t(size), 1, 0x4022, -1, ctypes.c_long(0))\nv = np.lib.stride_tricks.as_strided(np.ctypeslib.as_array(ctypes.cast(p, ctypes.POINTER(ctypes.c_uint8)), (1,)), (size >> 21,), (1 << 21,))\nt = 0\nfor i in range(0, 400_000, 1000): t += int(v[i:i + 1000].sum())\ntime.sleep(1)\nprint('ROOT')",
    "memory in empty files": "import os\nn = 0\nos.makedirs('/tmp/d')\nwhile True:\n    os.close(os.open(f'/tmp/d/{n}', 64)); n += 1",
    "memory in sockets": "import os, socket, time\nfor i in range(4):\n    if os.fork() == 0:\n        kept = [socket.socketpair() for _ in range(200)]\n        time.sleep(60)\ntime.sleep(60)",
    "a folder that nobody may open": "import os\nd = os.path.join(os.path.dirname(get_ipython().kernel.parent.abs_connection_file), 'litter')\nos.mkdir(d); open(d + '/x', 'w').write('y' * 1000); os.chmod(d, 0)",
    "keeps all processors": "import os, subprocess, time\ngiven = os.sched_getaffinity(0)\nos.sched_setaffinity(0, range(os.cpu_count()))\nif os.sched_getaffinity(0) != given: print('ROOT')\nfor _ in range(40): subprocess.Popen(['/bin/sh', '-c', 'while :; do :; done'], start_new_session=True)\ntime.sleep(4)",
    "a huge image": f"from IPython.display import publish_display_data\npublish_display_data({{'image/png': '{huge_png()}'}})",
}
# What else than (0, 3) an attack deserves: these spoil the kernel for the rest of their own notebook.
DESERVES = {
    "patched IPython": (0, 0), "fills the folder of sockets": (0, None), "many files among the sockets": (0, None),
    # one forged answer to every question: wrong everywhere
    "an answer of another dtype": (0, 0), "a shape without bytes": (0, 0), "one answer to all": (0, 0),
    "nested answers to all": (0, 0), "a pickle for all answers": (0, 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("class")
    submitted, out = folder / "submitted", folder / "graded"
    submitted.mkdir()
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[object] = []

    def accept() -> None:
        while True:
            try:
                connections.append(server.accept())
            except OSError:  # closed at the end
                return

    threading.Thread(target=accept, daemon=True).start()
    targets = [str(out / "gradebook.db"), str(out / "grades.csv"), str(submitted / "honest.ipynb"), str(Path(__file__))]
    settings = f"OUT_FOLDERS = {targets}\nPORT = {server.getsockname()[1]}\n"
    for name in ("honest", "zealous"):
        (submitted / f"{name}.ipynb").write_text(
            json.dumps(handed_in(RIGHT, before="# HONEST-STUDENT\nprint('hello')")), encoding="utf-8"
        )
    for name, code in ATTACKS.items():
        notebook = handed_in({**RIGHT, "double": WRONG}, before=settings + code)
        (submitted / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    overwritten = handed_in({**RIGHT, "double": WRONG})
    for cell in overwritten["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("locked"):
            cell["source"] = "pass"
            cell["metadata"]["nbgrader"]["points"] = 100
    (submitted / "overwritten tests.ipynb").write_text(json.dumps(overwritten), encoding="utf-8")
    leak = "def double(x):\n    import sys\n    raise ValueError(str(sys._getframe(1).f_code.co_consts))"
    (submitted / "leaks by its error.ipynb").write_text(json.dumps(handed_in({**RIGHT, "double": leak})), encoding="utf-8")
    os.symlink("/etc/passwd", submitted / "link.ipynb")
    before = outside(submitted)
    scheduler.grade_class(TINY, submitted, out, scheduler.Options(workers=2, limits=QUICK))
    server.close()
    assert outside(submitted) == before, "something outside a box was changed"
    assert not connections, "something came through the network"
    yield out


def outside(submitted: Path) -> dict[str, str]:
    """Hashes of what a hostile notebook would like to change."""
    files = [*submitted.iterdir(), Path(__file__), *TINY.folder.iterdir(), *Path(scheduler.__file__).parent.glob("*.py")]
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(graded: Path, attack: str) -> None:
    got = scores(graded, attack)
    double, total = DESERVES.get(attack, (0, 3))
    assert got[0] == double, result_of(graded, attack)
    assert total is None or got[1] == total, result_of(graded, attack)
    notebook = json.loads(result_of(graded, attack)["notebook"])
    shown = "".join(str(o.get("text", "")) for c in notebook["cells"] for o in c.get("outputs", []))
    for bad in ("FOUND ['", "WROTE", "CONNECTED", "RESOLVED", "ATTACHED", "READ", "MOUNTED", "ROOT"):
        assert bad not in shown, shown


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("memory behind madvise", "used more than 1.0 GB of memory"),
        ("memory in empty files", "made more than 50000 files"),
        ("memory in sockets", "opened more than 1000 sockets"),
    ],
)
def test_memory_that_no_process_shows_is_seen(graded: Path, attack: str, said: str) -> None:
    assert said in result_of(graded, attack)["note"]


def test_honest_grades_stand(graded: Path) -> None:
    assert scores(graded, "honest") == scores(graded, "zealous") == (3, 3)
    names = {path.stem for path in (graded / "feedback").iterdir()}
    assert names == {*ATTACKS, "honest", "zealous", "overwritten tests", "leaks by its error", "link"}
    assert len((graded / "grades.csv").read_text(encoding="utf-8").splitlines()) == len(names) + 1


def test_overwritten_tests_are_restored(graded: Path) -> None:
    assert scores(graded, "overwritten tests") == (0, 3)


def test_link_is_not_followed(graded: Path) -> None:
    assert scores(graded, "link") == (0, 0) and "link" in result_of(graded, "link")["note"]


def test_hidden_tests_stay_hidden(graded: Path) -> None:
    pages, notebooks = list(graded.glob("feedback/*")), list(graded.glob("autograded/*/*/*"))
    assert pages and notebooks
    for path in [*pages, *notebooks]:
        text = path.read_text(encoding="utf-8")
        assert "HIDDEN-MARKER" not in text and "OUTSIDE-MARKER" not in text and "def probe" not in text, path


def test_feedback_runs_nothing(graded: Path) -> None:
    page = (graded / "feedback" / "page with scripts.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page.split("</title>")[0]
    assert "<script>EVIL" not in page and "onerror=EVIL" not in page.replace("&lt;img src=x onerror=EVIL", "")
    assert "data:image/png" not in (graded / "feedback" / "a huge image.html").read_text(encoding="utf-8")


def test_nothing_is_left_running(graded: Path) -> None:
    until(lambda: not list(Path("/tmp").glob(f"box-{os.getpid()}-*")) and not running("1000000"))
    assert not Path("/tmp/pwned-by-pickle").exists()
