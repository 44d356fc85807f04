# A distribution that is not NixOS: the units that the program brings with it, put to work as its operator would.
client = "python3 /etc/vsmtp-test-client"
units = "/etc/systemd/system"

machine.wait_for_unit("multi-user.target")

with subtest("the program installs its units"):
    shown = machine.succeed("vsmtp install-units --print")
    machine.succeed("vsmtp install-units")
    for file in ("vsmtp.service", "vsmtp-smtp.socket", "vsmtp-submission.socket", "vsmtp-submissions.socket"):
        text = machine.succeed(f"cat {units}/{file}")
        assert f"# {units}/{file}\n{text}" in shown, file
    program = machine.succeed("readlink --canonicalize $(command -v vsmtp)").strip()
    assert f"ExecStart={program} serve --config /etc/vsmtp\n" in shown, shown

with subtest("what somebody changed is not written over without a word"):
    machine.succeed(f"echo '# ours' >>{units}/vsmtp-smtp.socket")
    assert "vsmtp-smtp.socket: kept" in machine.fail("vsmtp install-units 2>&1")
    machine.succeed(f"grep -q '^# ours' {units}/vsmtp-smtp.socket")
    assert "vsmtp-smtp.socket: replaced" in machine.succeed("vsmtp install-units --force")
    machine.fail(f"grep -q '^# ours' {units}/vsmtp-smtp.socket")

with subtest("systemd finds nothing wrong with them"):
    machine.succeed("systemctl daemon-reload")
    machine.succeed("systemd-analyze verify vsmtp.service vsmtp-smtp.socket 2>&1")

with subtest("a user, a key for the daemon alone, and it runs"):
    machine.succeed(
        "systemd-sysusers",
        "mkdir -m 700 /etc/ssl/vsmtp",
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=example.com"
        " -addext subjectAltName=DNS:example.com -keyout /etc/ssl/vsmtp/key.pem -out /etc/ssl/vsmtp/certificate.pem",
        "mkdir /etc/systemd/system/vsmtp.service.d",
        "printf '%s\\n' '[Service]' 'LoadCredential=example.com.certificate:/etc/ssl/vsmtp/certificate.pem'"
        " 'LoadCredential=example.com.key:/etc/ssl/vsmtp/key.pem' >/etc/systemd/system/vsmtp.service.d/keys.conf",
        "systemctl daemon-reload",
        "systemctl enable --now vsmtp.service",
    )
    machine.wait_for_unit("vsmtp.service")
    for port in (25, 587, 465):
        machine.wait_for_open_port(port)

with subtest("mail arrives"):
    machine.succeed(f"{client} send --security starttls", f"{client} send --security tls --port 465")
    machine.wait_until_succeeds("test $(ls /var/lib/vsmtp/mail/example.com/jane/new | wc -l) = 2", timeout=30)

with subtest("as little exposed as on NixOS"):
    exposure = machine.succeed("systemd-analyze security --no-pager vsmtp.service | tail -n 1")
    assert float(exposure.split(":")[1].split()[0]) <= 1.5, exposure

with subtest("the sockets go on with a daemon that comes and goes"):
    machine.succeed("systemctl restart vsmtp.service", f"{client} send", "systemctl stop vsmtp.service")
    machine.succeed(f"{client} send")
