client = "python3 /etc/vsmtp-test-client"

start_all()
for node in machines:
    node.wait_for_unit("vsmtp.service")

with subtest("text: MAIL in clear is refused for now, and the same connection may go on with STARTTLS"):
    output = text.succeed(f"{client} upgrade")
    assert "451 5.7.3 Must issue a STARTTLS command first" in output, output
    maildir = "/var/lib/vsmtp/mail/example.com/jane/new"
    text.wait_until_succeeds(f"test $(ls {maildir} | wc -l) = 2", timeout=30)

with subtest("file: the rules of the root and of a domain"):
    assert "550 5.7.1 Closed" in file.fail(f"{client} send --from closed@client.test")
    file.succeed(f"{client} send --from open@client.test")
    hello = 'import smtplib; print(smtplib.SMTP("127.0.0.1", 25).ehlo("rules.test"))'
    reply = file.succeed(f"python3 -c '{hello}'")
    assert "550" in reply and "5.7.1 That is my name" in reply, reply

with subtest("list: the directives of a stage run in the order of the list"):
    assert "554 5.7.1" in joined.fail(f"{client} send --from joe@client.test")
    assert "451 5.7.3" in joined.fail(f"{client} send --from jim@client.test")
    joined.succeed(f"{client} send --from jim@client.test --security starttls")
