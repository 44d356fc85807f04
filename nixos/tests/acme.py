import json

host = "mx.example.test"
order = f"acme-order-renew-{host}.service"
connect = f"openssl s_client -starttls smtp -connect 127.0.0.1:25 -servername {host}"


def shown(what):
    return mx.succeed(f"{connect} </dev/null 2>/dev/null | openssl x509 -noout -{what}").strip()


def copy(command, file):
    """What a command says on the authority becomes a file of the mail server."""
    text = authority.succeed(command)
    assert "BEGIN CERTIFICATE" in text, text
    mx.succeed(f"cat >{file} <<'END'\n{text}\nEND")


start_all()
authority.wait_for_unit("vsmtp-test-authority.service")
for port in (14000, 15000):
    authority.wait_for_open_port(port)
mx.wait_for_unit("vsmtp.service")

with subtest("before the authority has answered, a certificate is shown that it did not sign"):
    before = shown("serial")
    assert "Pebble" not in shown("issuer")

mx.succeed("python3 /etc/vsmtp-test-client load --security starttls --to jane@example.test >/tmp/load.log 2>&1 &")

with subtest("the authority asks over HTTP, and its certificate is shown"):
    copy("cat /var/lib/vsmtp-test-certificates/authority.certificate", "/run/vsmtp-test-authority.pem")
    copy(
        "python3 -c 'import ssl, urllib.request as r; print(r.urlopen(\"https://localhost:15000/roots/0\","
        " context=ssl._create_unverified_context()).read().decode())'",
        "/tmp/root.pem",
    )
    # An order of the boot, before there was anybody to trust, may still be about to fail.
    mx.wait_until_succeeds(f"systemctl start {order}", timeout=60)
    retry(lambda _: shown("serial") != before, 60)
    assert "Pebble" in shown("issuer")
    mx.succeed(f"{connect} -CAfile /tmp/root.pem -verify_return_error -verify_hostname {host} </dev/null 2>&1")

with subtest("a renewal is shown, too"):
    first = shown("serial")
    mx.succeed(f"systemctl start {order}")
    retry(lambda _: shown("serial") != first, 60)
    mx.succeed(f"{connect} -CAfile /tmp/root.pem -verify_return_error -verify_hostname {host} </dev/null 2>&1")

with subtest("no connection was refused or cut"):
    mx.succeed("test ! -e /tmp/load.json; sleep 1; touch /tmp/enough")
    mx.wait_for_file("/tmp/load.json", timeout=60)
    ends = json.loads(mx.succeed("cat /tmp/load.json"))["ends"]
    mx.log(f"how connections ended: {ends}")
    assert set(ends) <= {"done", "421"}, ends
    assert ends["done"] > 20, ends
