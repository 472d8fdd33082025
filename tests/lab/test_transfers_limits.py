"""Transfers where something ends: room, quota, a right, the file itself. Nothing half-written is left.

A small file system that is really full is mounted in a mount namespace of its own, which goes with its process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.hub import ROOT

_SMALL = 24 << 20
_SOMEBODY = 12_345

SCRIPT = """
import asyncio, errno, json, os, sys
from pathlib import Path
from canfar_lab.storage.errors import Refused
from canfar_lab.transfers import content, naming
from canfar_lab.transfers.uploads import Body
from tests.lab.transfers import World, asked_upload, noise

base, small = Path(sys.argv[1]), Path(sys.argv[2])
MB = 1 << 20

def told(job, **more):
    left = sorted(str(p.relative_to(small)) for p in small.rglob("*"))
    print(json.dumps({"state": job.state, "error": job.error, "notes": job.notes, "left": left, **more}))

user = int(sys.argv[3])
if user:
    # Now, as its modules lie where only root may look.
    import concurrent.futures.thread, encodings.ascii
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

async def main():
    world = World(base, small)
""".lstrip()


def run(
    tmp_path: Path, need: Callable[..., None], lines: str, *, user: int = 0
) -> list[dict[str, Any]]:
    """Run lines in a process that has a small file system, as root or as somebody else."""
    need("root", os.geteuid() == 0, "run these tests as root to mount a small file system")
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT + "\n".join(f"    {line}" for line in lines.splitlines()) + "\nasyncio.run(main())\n"
    )
    base, small = tmp_path / "arc", tmp_path / "small"
    base.mkdir()
    small.mkdir()
    mounted = f"mount -t tmpfs -o size={_SMALL} none {small} && chmod 777 {small} && "
    if user:
        os.chown(base, user, user)
        for above in (tmp_path, *tmp_path.parents):
            if above == Path(tempfile.gettempdir()):
                break
            above.chmod(0o755)
    command = f"{mounted}exec {sys.executable} {script} {base} {small} {user}"
    found = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'labextension'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, need: Callable[..., None]
) -> None:
    (copy, upload) = run(
        tmp_path,
        need,
        """
(world.home / "big").write_bytes(noise(30 * MB))
told(await world.do("copy", ["home:big"], "scratch:"))
try:
    await world.board.begin({**asked_upload(30 * MB), "to": {"area": "scratch", "path": ""}})
except Refused as refused:
    print(json.dumps({"code": refused.code, "message": refused.message}))
""",
    )
    assert (copy["state"], copy["error"]["code"], copy["left"]) == ("failed", "full", [])
    assert copy["error"]["message"].startswith(
        "31.5 MB do not fit into Scratch, where 25.2 MB are free"
    )
    assert upload["code"] == "full"


def test_what_fills_up_meanwhile_leaves_nothing(tmp_path: Path, need: Callable[..., None]) -> None:
    (copy, again, tree, upload) = run(
        tmp_path,
        need,
        """
naming.check_room = lambda *_: None
(world.home / "big").write_bytes(noise(30 * MB))
job = await world.do("copy", ["home:big"], "scratch:")
told(job)
# With less in it, the same transfer is tried again.
(world.home / "big").write_bytes(noise(10 * MB))
await world.board.resume(job.id)
await world.end(job)
told(job)
(small / "big").unlink()
(world.home / "m31").mkdir()
for name in "abcd":
    (world.home / "m31" / name).write_bytes(noise(7 * MB))
told(await world.do("move", ["home:m31"], "scratch:"), kept=len(list((world.home / "m31").iterdir())))
job = await world.board.begin({**asked_upload(30 * MB), "to": {"area": "scratch", "path": ""}})
upload = await world.board.upload(job.id)
body = Body(upload, 0, None, None)
try:
    for _ in range(30):
        body.write([noise(MB)])
except OSError as error:
    body.broken()
    await world.board.failed(upload, error)
told(job)
""",
    )
    for each in (copy, tree, upload):
        assert (each["state"], each["error"]["code"], each["left"]) == ("failed", "full", [])
        assert "There is no room left for" in each["error"]["message"]
    assert (again["state"], again["error"], again["left"]) == ("done", None, ["big"])
    # A move that did not come to its end has taken nothing away.
    assert tree["kept"] == 4


def test_a_quota_that_is_used_up_is_said(tmp_path: Path, need: Callable[..., None]) -> None:
    # No file system of these machines has quotas, so the kernel's word for it is put in its mouth.
    (copy,) = run(
        tmp_path,
        need,
        """
def refused(*_):
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

content._range = content._send = content._plain = refused
(world.home / "big").write_bytes(noise(MB))
told(await world.do("copy", ["home:big"], "scratch:"))
""",
    )
    assert (copy["state"], copy["error"]["code"], copy["left"]) == ("failed", "quota", [])
    assert "The quota is used up, big does not fit" in copy["error"]["message"]


def test_a_right_that_is_lost_is_said(tmp_path: Path, need: Callable[..., None]) -> None:
    closed, placed, tree = run(
        tmp_path,
        need,
        """
(world.home / "mine").write_bytes(noise(MB))
(world.home / "mine").chmod(0)
told(await world.do("copy", ["home:mine"], "scratch:"))

# The folder is closed while the copy is on its way.
(world.home / "open").write_bytes(noise(MB))
(small / "to").mkdir()
put = naming.put
def shut(*arguments, **more):
    (small / "to").chmod(0o555)
    return put(*arguments, **more)
naming.put = shut
job = await world.do("copy", ["home:open"], "scratch:to")
(small / "to").chmod(0o755)
await world.board.forget(job.id)
told(job)
naming.put = put

(world.home / "m31" / "shut").mkdir(parents=True)
(world.home / "m31" / "a").write_bytes(b"a")
(world.home / "m31" / "b").write_bytes(b"b")
(world.home / "m31" / "b").chmod(0)
(world.home / "m31" / "shut").chmod(0)
told(await world.do("copy", ["home:m31"], "scratch:"))
(world.home / "m31" / "shut").chmod(0o755)
""",
        user=_SOMEBODY,
    )
    for each in (closed, placed):
        assert (each["state"], each["error"]["code"]) == ("failed", "not-allowed")
        assert "Your account may not do that with" in each["error"]["message"]
    assert closed["left"] == []
    assert placed["left"] == ["to"]
    assert (tree["state"], tree["left"]) == ("done", ["m31", "m31/a", "to"])
    assert sorted(tree["notes"]) == [
        "Not copied: Your account may not do that with b.",
        "Not copied: Your account may not do that with shut.",
    ]
