client = "python3 /etc/vsmtp-test-client"
ports = ("--port 587 --security starttls --name example.com", "--port 465 --security tls --name example.com")

machine.wait_for_unit("vsmtp.service")

with subtest("a sender of ours must authenticate"):
    for port in ports:
        assert "530 5.7.0" in machine.fail(f"{client} send {port} --from jane@example.com")

with subtest("nobody relays"):
    for port in ports:
        assert "554 5.7.1" in machine.fail(f"{client} send {port} --from joe@client.test --to jim@example.net")

with subtest("the port for TLS from the first octet speaks nothing else"):
    reply = machine.execute("timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/465; printf \"EHLO x\\r\\n\" >&3; cat <&3' | tr -dc '[:print:]'")[1]
    assert "220" not in reply and "250" not in reply, reply

with subtest("each socket is its own listener"):
    for name, port in (("smtp", 25), ("submission", 587), ("submissions", 465)):
        machine.require_unit_state(f"vsmtp-{name}.socket")
        assert f":{port}" in machine.get_unit_property(f"vsmtp-{name}.socket", "Listen")

jane = "--user jane --password 'correct horse'"
maildir = "/var/lib/vsmtp/mail/example.org/jane/new"

with subtest("users of the machine authenticate, and their mail is taken"):
    machine.succeed("useradd --create-home jane", "echo 'jane:correct horse' | chpasswd")
    for number, port in enumerate(ports):
        for mechanism in ("PLAIN", "LOGIN"):
            output = machine.succeed(
                f"{client} send {port} {jane} --mechanism {mechanism} --from jane@example.com --to jane@example.org"
                f" --body authenticated-{number}-{mechanism}"
            )
            assert "235 2.7.0" in output and "250 " in output, output
            machine.wait_until_succeeds(f"grep -rl authenticated-{number}-{mechanism} {maildir}", timeout=30)
    assert "ESMTPSA" in machine.succeed(f"grep -rh -A3 ^Received: {maildir}")

with subtest("a wrong password, an unknown user and an empty password are all the same"):
    for port in ports:
        for who in ("--user jane --password wrong", "--user nobody-knows --password wrong", "--user jane --password ''"):
            assert "535 5.7.8" in machine.fail(f"{client} send {port} {who} --from jane@example.com --to jane@example.org")

with subtest("no password in clear"):
    assert "538 5.7.11" in machine.fail(f"{client} send --port 587 {jane} --mechanism PLAIN --from jane@example.com")

with subtest("only the mail server may ask whose password is right"):
    machine.succeed("test -S /run/saslauthd/mux")
    machine.fail("setpriv --reuid=nobody --clear-groups test -e /run/saslauthd/mux")
    groups = machine.get_unit_property("vsmtp.service", "SupplementaryGroups")
    assert groups == "saslauthd", groups
    exposure = machine.succeed("systemd-analyze security --no-pager vsmtp.service | tail -n 1")
    assert float(exposure.split(":")[1].split()[0]) <= 1.5, exposure
