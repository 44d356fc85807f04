client = "python3 /etc/vsmtp-test-client"
home = "/var/lib/vsmtp/mail"


def send(recipient, body):
    alpha.succeed(f"{client} send --from jane@alpha.test --to {recipient} --body {body}")


def arrives(node, mailbox, text):
    node.wait_until_succeeds(f"grep -rlF -- {text} {home}/{mailbox}/new", timeout=60)


start_all()
dns.wait_for_unit("vsmtp-test-dns.service")
dns.wait_for_open_port(53)
for node in (alpha, beta):
    node.wait_for_unit("vsmtp.service")

with subtest("nobody but this host relays"):
    assert "530 5.7.0" in beta.fail(f"{client} send --host alpha --from jane@alpha.test --to jane@beta.test")

with subtest("by MX, over TLS"):
    send("jane@beta.test", "by-the-exchanger")
    arrives(beta, "beta.test/jane", "by-the-exchanger")
    trace = beta.succeed(f"grep -h -A3 ^Received: {home}/beta.test/jane/new/*")
    assert "mx" in trace or "alpha" in trace, trace
    assert "ESMTPS" in trace, trace

with subtest("by the transport of a domain"):
    send("jane@behind.test", "by-the-transport")
    arrives(beta, "behind.test/jane", "by-the-transport")

with subtest("what the other host refuses comes back to its sender"):
    send("nobody@beta.test", "never-read")
    arrives(alpha, "alpha.test/jane", "nobody@beta.test")
    report = alpha.succeed(f"cat {home}/alpha.test/jane/new/*")
    for part in ("Return-Path: <>", "multipart/report", "Action: failed", "Status: 5.1.1", "550 5.1.1"):
        assert part in report, f"{part} is not in {report}"

with subtest("a domain that does not exist comes back, too"):
    send("jane@gamma.test", "never-sent")
    arrives(alpha, "alpha.test/jane", "jane@gamma.test")

with subtest("a host that is down gets its mail when it is up again"):
    beta.shutdown()
    send("jane@beta.test", "for-later")
    alpha.wait_until_succeeds(
        "journalctl --unit=vsmtp.service --output=verbose | grep -i 'result=deferred'", timeout=60
    )
    listed = alpha.succeed("vqueue list")
    assert "jane@beta.test" in listed, listed
    alpha.fail("setpriv --reuid=nobody --clear-groups vqueue list")
    beta.start()
    beta.wait_for_unit("vsmtp.service")
    arrives(beta, "beta.test/jane", "for-later")
    alpha.wait_until_succeeds("test -z \"$(vqueue list --json)\"", timeout=30)
    assert beta.succeed(f"grep -rl for-later {home}/beta.test/jane/new | wc -l").strip() == "1"
