client = "python3 /etc/vsmtp-test-client"

machine.wait_for_unit("vsmtp.service")
machine.succeed(f"{client} send --security starttls")
pid = machine.get_unit_property("vsmtp.service", "MainPID")


def inside(command):
    """A command as the daemon's user, in what the daemon sees of the machine."""
    return f"nsenter --target {pid} --mount setpriv --reuid=vsmtp --regid=vsmtp --clear-groups sh -c '{command}'"


with subtest("systemd's own measure"):
    exposure = machine.succeed("systemd-analyze security --no-pager vsmtp.service | tail -n 1")
    level = float(exposure.split(":")[1].split()[0])
    assert level <= 1.5, exposure

with subtest("no capability, no new privilege, a filter of system calls, a user of its own"):
    status = dict(line.split(":\t", 1) for line in machine.succeed(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, f"{kind}: {status[kind]}"
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    user = machine.succeed("id --user vsmtp").strip()
    assert status["Uid"].split() == [user] * 4, status["Uid"]

with subtest("its state is all that it can write, and keys are nowhere that others can read"):
    machine.succeed(inside("touch /var/lib/vsmtp/writable && rm /var/lib/vsmtp/writable"))
    for folder in ("/", "/etc", "/usr", "/var", "/var/lib", "/root", "/home", "/dev"):
        # Not even as root, as far as the file systems are those that the daemon sees.
        machine.fail(f"nsenter --target {pid} --mount touch {folder}/writable 2>/dev/null")
    machine.fail(inside("cat /var/lib/vsmtp-test-certificates/example.com.key") + " 2>/dev/null")
    machine.succeed(inside("cat /run/credentials/vsmtp.service/example.com.key >/dev/null"))
    machine.succeed(inside("cat /run/credentials/vsmtp.service/database.password >/dev/null"))
    machine.fail("setpriv --reuid=nobody --clear-groups cat /run/credentials/vsmtp.service/example.com.key 2>/dev/null")
    assert machine.succeed("stat --format=%a /var/lib/vsmtp").strip() == "750"
    machine.fail("setpriv --reuid=nobody --clear-groups ls /var/lib/vsmtp/mail 2>/dev/null")

with subtest("a configuration that cannot be used is not tried again and again"):
    machine.succeed("rm -rf /run/spoiled && cp -rL /etc/vsmtp /run/spoiled && echo 'nonsense(' >>/run/spoiled/filter.vsl")
    machine.succeed("mkdir -p /run/systemd/system/vsmtp.service.d")
    machine.succeed(
        "program=$(systemctl show --property=ExecStart --value vsmtp.service | sed 's/.*path=\\([^ ;]*\\).*/\\1/');"
        " printf '[Service]\\nExecStart=\\nExecStart=%s serve --config /run/spoiled\\n' \"$program\""
        " >/run/systemd/system/vsmtp.service.d/spoiled.conf"
    )
    machine.succeed("systemctl daemon-reload")
    machine.fail("systemctl restart vsmtp.service")
    assert machine.get_unit_property("vsmtp.service", "ExecMainStatus") == "78"
    assert machine.get_unit_property("vsmtp.service", "NRestarts") == "0"
    machine.succeed("journalctl --unit=vsmtp.service | grep -q 'filter.vsl:'")

with subtest("and a good one brings it back"):
    machine.succeed("rm /run/systemd/system/vsmtp.service.d/spoiled.conf")
    machine.succeed("systemctl daemon-reload && systemctl restart vsmtp.service")
    machine.succeed(f"{client} send")

with subtest("a daemon that hangs is started again"):
    folder = "/run/systemd/system/vsmtp.service.d"
    machine.succeed(f"printf '[Service]\\nWatchdogSec=5\\n' >{folder}/hurry.conf", "systemctl daemon-reload")
    machine.succeed("systemctl restart vsmtp.service")
    pid = machine.get_unit_property("vsmtp.service", "MainPID")
    machine.succeed("sleep 6")
    assert machine.get_unit_property("vsmtp.service", "MainPID") == pid, "it gives no sign of life"
    machine.succeed(f"kill -STOP {pid}")
    machine.wait_until_succeeds("test $(systemctl show --property=NRestarts --value vsmtp.service) -ge 1", timeout=60)
    machine.wait_for_unit("vsmtp.service")
    assert machine.get_unit_property("vsmtp.service", "MainPID") != pid
    machine.succeed("journalctl --unit=vsmtp.service | grep -qi watchdog", f"{client} send")
