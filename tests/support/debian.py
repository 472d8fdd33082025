"""A bare Debian in a directory, and commands inside it as on a machine of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.hub import ROOT

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PROJECT = "srv/canfar-hub"

# Makes the directory the root of a mount namespace of its own: a mere chroot could not make the
# sandboxes that sessions run in.
_ENTER = """
set -e
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mkdir -p old
pivot_root . old
umount -l old
shift
# Not exec: the first process of a namespace ignores signals that it does not handle.
"$@"
"""


@dataclass(frozen=True)
class Debian:
    """One bare system with the project in it."""

    root: Path
    suite: str

    @classmethod
    def make(cls, suite: str) -> Debian:
        """Make a system of ``suite`` with nothing but Debian's essential packages."""
        root = Path(tempfile.mkdtemp(prefix=f"canfar-{suite}-"))
        subprocess.run(
            [
                "mmdebstrap",
                "--variant=minbase",
                "--include=ca-certificates,mount",
                suite,
                str(root),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        root.chmod(0o755)
        project = root / _PROJECT
        project.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True
        ).stdout
        with tempfile.TemporaryFile() as file:
            file.write(archive)
            file.seek(0)
            with tarfile.open(fileobj=file) as tar:
                tar.extractall(project, filter="data")
        shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
        return cls(root, suite)

    def add_user(self, name: str) -> None:
        """Make a plain user and give the project to her."""
        self.run(["useradd", "--create-home", "--shell", "/bin/bash", name]).check_returncode()
        self.run(["chown", "-R", f"{name}:{name}", f"/{_PROJECT}"]).check_returncode()

    def trust(self) -> None:
        """Hand over the certificates that this machine's network needs."""
        shutil.copy(_CERTIFICATES, self.root / "etc" / "ssl" / "certs" / _CERTIFICATES.name)

    def command(self, argv: list[str], user: str = "root", **environ: str) -> list[str]:
        """Give the command that runs another one inside."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {
            "HOME": home,
            "USER": user,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "SSL_CERT_FILE": str(_CERTIFICATES),
            "PIP_CERT": str(_CERTIFICATES),
            "NODE_EXTRA_CA_CERTS": str(_CERTIFICATES),
            "NPM_CONFIG_CAFILE": str(_CERTIFICATES),
            **environ,
        }
        words = ["env", "-i", "--chdir", f"/{_PROJECT}"]
        words += [f"{name}={value}" for name, value in variables.items()]
        if user != "root":
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *words]
        return [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=SIGTERM",
            "bash",
            "-c",
            _ENTER,
            "enter",
            str(self.root),
            *words,
            *argv,
        ]

    def run(
        self, argv: list[str], user: str = "root", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return subprocess.run(
            self.command(argv, user, **environ), capture_output=True, text=True, check=False
        )

    def start(
        self, argv: list[str], log: Path, user: str = "root", **environ: str
    ) -> subprocess.Popen[bytes]:
        """Start a command inside."""
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command(argv, user, **environ),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def install(self) -> None:
        """Run the README's one apt-get line."""
        self.run(["apt-get", "update"]).check_returncode()
        packages = (ROOT / "packages.txt").read_text().split()
        done = self.run(["apt-get", "install", "-y", "--no-install-recommends", *packages])
        if done.returncode:
            raise AssertionError(f"{shlex.join(packages)}:\n{done.stderr[-3000:]}")
        self.trust()

    def remove(self) -> None:
        """Remove the system; nothing is mounted in it outside of its own namespaces."""
        shutil.rmtree(self.root, ignore_errors=True)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command inside as Ctrl-C would."""
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=120)
