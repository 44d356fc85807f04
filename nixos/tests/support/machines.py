"""Machines for NixOS test scripts, made of containers: a Debian tree, a real systemd, and the units of a rendered node.

`Machine` offers the part of the NixOS test driver's interface that our scripts use, with the same meaning: commands run
in bash with `set -euo pipefail`, waiting polls, a broken promise raises. What it does not offer raises AttributeError,
so a script that needs more fails here before it fails there. `Site` is what the machines of one test share: a network
of their own, and a folder for what they write.

A container shares the kernel of this machine. Users, capabilities, system call filters, mount namespaces, credentials,
sockets and readiness are therefore real; limits on memory and tasks are not enforced, and `crash` kills every process
at once but does not take the page cache with it.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

START = time.monotonic()
ENVIRONMENT = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/vsmtp/bin",
    "HOME=/root",
    "USER=root",
    "LANG=C.UTF-8",
]


class TestFailed(AssertionError):
    """What a script asked for is not so."""


def log(message):
    print(f"[{time.monotonic() - START:7.2f}] {message}", flush=True)


def retry(attempt, timeout=900):
    """Calls `attempt` about twice a second until it returns true; it is told whether it is the last time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        began = time.monotonic()
        if attempt(False):
            return
        time.sleep(max(0.0, 0.5 - (time.monotonic() - began)))
    if not attempt(True):
        raise TestFailed(f"not within {timeout} seconds")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, **options)


class Machine:
    """One node of a test."""

    def __init__(self, name, site, files, address):
        self.name = name
        self.address = address
        self._site = site
        self._files = files
        self._root = site.folder / f"{name}.root"
        self._console = site.folder / f"{name}.console"
        self._nspawn = None
        self._init = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self):
        if self._init is not None:
            return
        began = time.monotonic()
        if not self._root.exists():
            self._prepare()
        with open(self._console, "ab") as console:
            self._nspawn = subprocess.Popen(
                [
                    "systemd-nspawn",
                    "--quiet",
                    f"--directory={self._root}",
                    f"--machine={self.name}",
                    "--boot",
                    "--register=no",
                    "--keep-unit",
                    "--console=pipe",
                    "--resolv-conf=off",
                    "--timezone=off",
                    "--link-journal=no",
                    "--kill-signal=SIGRTMIN+3",
                    f"--bind-ro={self._site.binary}:/opt/vsmtp/bin/vsmtp",
                    f"--network-namespace-path=/run/netns/{self._site.namespace(self.name)}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        self._init = self._find_init()
        manager = f"/proc/{self._init}/root/run/systemd/private"
        while not os.path.exists(manager):
            self._still_starting(began)
        log(f"{self.name}: started in {time.monotonic() - began:.2f} s")

    def _prepare(self):
        upper = self._site.folder / f"{self.name}.upper"
        work = self._site.folder / f"{self.name}.work"
        for folder in (self._root, upper, work):
            folder.mkdir()
        for files in self._files:
            shutil.copytree(files, upper, symlinks=True, dirs_exist_ok=True)
        upper.chmod(0o755)
        run("chown", "-R", "--no-dereference", "0:0", upper)
        etc = upper / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "machine-id").write_text(os.urandom(16).hex() + "\n")
        (etc / "hostname").write_text(self.name + "\n")
        if not (etc / "hosts").exists():
            (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        # The other names of the program, as the package has them.
        programs = upper / "opt/vsmtp/bin"
        programs.mkdir(parents=True)
        for name in ("mailq", "newaliases", "sendmail", "vqueue"):
            (programs / name).symlink_to("vsmtp")
        layers = f"lowerdir={self._site.base},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self._root)

    def _find_init(self):
        """The process outside that is process 1 inside: the descendant of nspawn that has become systemd."""
        began = time.monotonic()
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        while True:
            with contextlib.suppress(OSError):
                for child in children.read_text().split():
                    if os.readlink(f"/proc/{child}/exe").endswith("/systemd"):
                        return int(child)
            self._still_starting(began)

    def _still_starting(self, began):
        if self._nspawn.poll() is not None or time.monotonic() - began > 60:
            raise TestFailed(f"{self.name} does not start:\n{self._console.read_text(errors='replace')}")
        time.sleep(0.02)

    def shutdown(self):
        if self._nspawn is None:
            return
        self._nspawn.terminate()
        try:
            self._nspawn.wait(100)
        except subprocess.TimeoutExpired:
            self.crash()
        self._nspawn = self._init = None

    def crash(self):
        """Ends every process of the machine at once; `start` boots it again with the disk as it is."""
        if self._nspawn is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, 9)
        self._nspawn.kill()
        self._nspawn.wait()
        self._nspawn = self._init = None

    def release(self):
        self.crash()
        if self._root.is_mount():
            run("umount", "--lazy", self._root)

    # -- commands -----------------------------------------------------------------------------------------------------

    def execute(self, command, check_return=True, check_output=True, timeout=900):
        self.start()
        inside = ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        limit = ["timeout", str(timeout)] if timeout else []
        shell = ["bash", "-c", f"set -euo pipefail; cd /tmp; {command}"]
        done = subprocess.run(
            [*inside, "env", "-i", *ENVIRONMENT, *limit, *shell], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        return done.returncode if check_return else -1, done.stdout.decode(errors="replace")

    def succeed(self, *commands, timeout=None):
        output = ""
        for command in commands:
            log(f"{self.name}: must succeed: {command}")
            status, text = self.execute(command, timeout=timeout)
            if status != 0:
                raise TestFailed(f"`{command}` failed with status {status}\noutput: {text}")
            output += text
        return output

    def fail(self, *commands, timeout=None):
        output = ""
        for command in commands:
            log(f"{self.name}: must fail: {command}")
            status, text = self.execute(command, timeout=timeout)
            if status == 0:
                raise TestFailed(f"`{command}` succeeded\noutput: {text}")
            output += text
        return output

    def wait_until_succeeds(self, command, timeout=900):
        return self._wait_until(command, timeout, lambda status: status == 0, "to succeed")

    def wait_until_fails(self, command, timeout=900):
        return self._wait_until(command, timeout, lambda status: status != 0, "to fail")

    def _wait_until(self, command, timeout, good, wish):
        log(f"{self.name}: waiting for this {wish}: {command}")
        output = ""

        def attempt(_):
            nonlocal output
            status, output = self.execute(command, timeout=timeout)
            return good(status)

        retry(attempt, timeout)
        return output

    def sleep(self, secs):
        self.succeed(f"sleep {secs}")

    # -- units, ports, files ------------------------------------------------------------------------------------------

    def systemctl(self, query, user=None):
        return self.execute(f"systemctl {query}")

    def get_unit_info(self, unit, user=None):
        status, lines = self.systemctl(f"--no-pager show {shlex.quote(unit)}")
        if status != 0:
            raise TestFailed(f"systemctl show {unit} failed with status {status}")
        return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)

    def get_unit_property(self, unit, property, user=None):
        return self.get_unit_info(unit)[property]

    def require_unit_state(self, unit, require_state="active"):
        state = self.get_unit_property(unit, "ActiveState")
        if state != require_state:
            raise TestFailed(f"{unit} is {state}, not {require_state}")

    def wait_for_unit(self, unit, user=None, timeout=900):
        log(f"{self.name}: waiting for {unit}")

        def attempt(_):
            state = self.get_unit_property(unit, "ActiveState")
            if state == "failed":
                raise TestFailed(f"{unit} has failed")
            if state == "inactive":
                _, jobs = self.systemctl("list-jobs --full 2>&1")
                if "No jobs" in jobs and self.get_unit_property(unit, "ActiveState") == "inactive":
                    raise TestFailed(f"{unit} is inactive and nothing is about to start it")
            return state == "active"

        retry(attempt, timeout)

    def _accepts(self, port, address):
        status, _ = self.execute(f"timeout 2 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null")
        return status == 0

    def wait_for_open_port(self, port, addr="localhost", timeout=900):
        log(f"{self.name}: waiting for port {port}")
        retry(lambda _: self._accepts(port, addr), timeout)

    def wait_for_closed_port(self, port, addr="localhost", timeout=900):
        retry(lambda _: not self._accepts(port, addr), timeout)

    def wait_for_file(self, filename, timeout=900):
        retry(lambda _: self.execute(f"test -e {shlex.quote(filename)}")[0] == 0, timeout)

    def start_job(self, jobname, user=None):
        self.systemctl(f"start {jobname}")

    def stop_job(self, jobname, user=None):
        self.systemctl(f"stop {jobname}")

    def log(self, message):
        log(f"{self.name}: {message}")


class Site:
    """The machines of one test, on a network of their own: 192.168.1.0/24, machine n has address n, in the order of their
    names, as in the NixOS test framework, whose hosts files the nodes bring with them."""

    def __init__(self, base, binary, nodes):
        """`nodes`: name → folders that are laid over the Debian tree `base`, later ones over earlier ones."""
        self.base = Path(base).resolve()
        self.binary = Path(binary).resolve()
        self.folder = Path(tempfile.mkdtemp(prefix="vsmtp-test-"))
        self._prefix = f"vsmtp{os.getpid()}"
        addresses = {name: f"192.168.1.{number}" for number, name in enumerate(sorted(nodes), 1)}
        self.machines = [Machine(name, self, files, addresses[name]) for name, files in sorted(nodes.items())]

    def namespace(self, name):
        return f"{self._prefix}-{name}"

    def __enter__(self):
        switch = self.namespace("switch")
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        for number, machine in enumerate(self.machines):
            own, port = self.namespace(machine.name), f"port{number}"
            run("ip", "netns", "add", own)
            run("ip", "-n", own, "link", "add", "eth1", "type", "veth", "peer", "name", port, "netns", switch)
            run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
            run("ip", "-n", own, "addr", "add", f"{machine.address}/24", "dev", "eth1")
            # The hosts files have both. Where the kernel has no IPv6, clients go on to the other.
            address = ["ip", "-n", own, "addr", "add", f"2001:db8:1::{number + 1}/64", "dev", "eth1", "nodad"]
            subprocess.run(address, check=False, stderr=subprocess.DEVNULL)
            for device in ("lo", "eth1"):
                run("ip", "-n", own, "link", "set", device, "up")
        return self

    def __exit__(self, *_):
        for machine in self.machines:
            machine.release()
        for name in [machine.name for machine in self.machines] + ["switch"]:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run_script(self, script):
        """Runs a test script with the names that the NixOS test driver gives it. Raises what the script raises."""

        @contextlib.contextmanager
        def subtest(name):
            log(f"-- {name}")
            yield

        names = {machine.name.replace("-", "_"): machine for machine in self.machines}
        if len(self.machines) == 1:
            names.setdefault("machine", self.machines[0])
        names.update(
            machines=self.machines,
            start_all=lambda: [machine.start() for machine in self.machines],
            subtest=subtest,
            retry=retry,
            log=log,
        )
        try:
            exec(compile(Path(script).read_text(), script, "exec"), names)
        except BaseException:
            for machine in self.machines:
                if machine._init is not None:
                    print(f"-- journal of {machine.name}")
                    print(machine.execute("journalctl --boot --no-pager --lines=80")[1], flush=True)
            raise
