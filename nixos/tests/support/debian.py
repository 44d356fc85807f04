"""The Debian tree that every node of a container test starts from."""

import shutil
import subprocess

# For a systemd that knows every setting of the unit.
SUITE = "trixie"

# What nodes run besides the daemon.
PACKAGES = (
    "bash,dbus,dnsmasq-base,iproute2,lego,libnss-systemd,libpython3-stdlib,openssl,pebble,python3-minimal,sasl2-bin,systemd"
    ",systemd-sysv"
)

# The tree says what it is made of, so that it is made anew when a package is added.
CONTENTS = "usr/share/vsmtp-test-packages"


class NotMade(Exception):
    """There is no tree, and why."""


def is_complete(root):
    contents = root / CONTENTS
    return contents.exists() and contents.read_text() == PACKAGES


def make(root):
    """Makes the tree; what lay there gives way when all is done."""
    print(f"making a Debian {SUITE} tree in {root}, once", flush=True)
    unfinished = root.with_name(root.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    without = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
    options = ["--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", *without]
    try:
        subprocess.run(["mmdebstrap", *options, SUITE, str(unfinished)], check=True)
    except subprocess.CalledProcessError as error:
        raise NotMade(
            f"mmdebstrap cannot make {root}, see above: is a mirror of Debian within reach? "
            "A tree that was made elsewhere can be given with --root"
        ) from error
    adapt(unfinished)
    (unfinished / CONTENTS).write_text(PACKAGES)
    shutil.rmtree(root, ignore_errors=True)
    unfinished.rename(root)


def adapt(root):
    """Makes it what the nodes expect: nothing runs that they do not start, and programs are in /usr/bin."""
    (root / "etc/systemd/system/multi-user.target.wants/saslauthd.service").unlink(missing_ok=True)
    for program in (root / "usr/sbin").iterdir():
        link = root / "usr/bin" / program.name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(f"../sbin/{program.name}")
