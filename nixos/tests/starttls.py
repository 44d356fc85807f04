client = "python3 /etc/vsmtp-test-client"
certificate = "/var/lib/vsmtp-test-certificates/example.com.certificate"
verify = f"-servername example.com -CAfile {certificate} -verify_return_error -verify_hostname example.com"
maildir = "/var/lib/vsmtp/mail/example.com/jane/new"

machine.wait_for_unit("vsmtp.service")

with subtest("the certificate is shown after STARTTLS and from the first octet"):
    for connect in ("-starttls smtp -connect 127.0.0.1:25", "-starttls smtp -connect 127.0.0.1:587", "-connect 127.0.0.1:465"):
        for version in ("-tls1_2", "-tls1_3"):
            machine.succeed(f"openssl s_client -crlf {connect} {version} {verify} </dev/null 2>&1")

with subtest("nothing older than TLS 1.2 is spoken"):
    machine.fail(
        "openssl s_client -crlf -connect 127.0.0.1:465 -tls1_1 -cipher 'DEFAULT:@SECLEVEL=0' -servername example.com"
        " </dev/null 2>&1"
    )

with subtest("mail arrives, and says how it came"):
    machine.succeed(f"{client} send --security clear --body in-clear")
    machine.succeed(f"{client} send --security starttls --body over-starttls")
    machine.wait_until_succeeds(f"test $(ls {maildir} | wc -l) = 2", timeout=30)
    machine.succeed(f"grep -lr over-starttls {maildir} | xargs grep -q 'TLSv1.3\\|TLS1.3'")
    machine.fail(f"grep -lr in-clear {maildir} | xargs grep -q 'TLSv1.3\\|TLS1.3'")

with subtest("mail for nobody and mail for elsewhere is refused"):
    assert "550" in machine.fail(f"{client} send --to nobody@example.com")
    assert "554" in machine.fail(f"{client} send --to jane@example.net")
