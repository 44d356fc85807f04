client = "python3 /etc/vsmtp-test-client"
ports = ("--port 587 --security starttls --name example.com", "--port 465 --security tls --name example.com")

machine.wait_for_unit("vsmtp.service")

with subtest("a sender of ours must authenticate"):
    for port in ports:
        assert "530 5.7.0" in machine.fail(f"{client} send {port} --from jane@example.com")

with subtest("nobody relays"):
    for port in ports:
        assert "554 5.7.1" in machine.fail(f"{client} send {port} --from joe@example.net --to jim@example.org")

with subtest("the port for TLS from the first octet speaks nothing else"):
    reply = machine.execute("timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/465; printf \"EHLO x\\r\\n\" >&3; cat <&3' | tr -dc '[:print:]'")[1]
    assert "220" not in reply and "250" not in reply, reply

with subtest("each socket is its own listener"):
    for name, port in (("smtp", 25), ("submission", 587), ("submissions", 465)):
        machine.require_unit_state(f"vsmtp-{name}.socket")
        assert f":{port}" in machine.get_unit_property(f"vsmtp-{name}.socket", "Listen")
