start_all()


def shown(node, name):
    """The subject of the certificate that a client sees who asks for `name`, or nothing; the same on both ports."""
    servername = f"-servername {name}" if name else "-noservername"
    subjects = set()
    for connect in ("-starttls smtp -connect 127.0.0.1:25", "-connect 127.0.0.1:465"):
        _, output = node.execute(
            f"openssl s_client -crlf {connect} {servername} </dev/null 2>/dev/null"
            " | openssl x509 -noout -subject -nameopt RFC2253 2>/dev/null"
        )
        subjects.add(output.strip().removeprefix("subject=CN="))
    assert len(subjects) == 1, f"{name}: {subjects}"
    return subjects.pop()


named = {
    "example.com": "example.com",
    "EXAMPLE.Com": "example.com",
    "mail.example.com": "example.com",
    "example.org": "example.org",
    "any.example.org": "example.org",
}
unnamed = ["", "example.net", "other.example.com", "a.b.example.org"]

for node, otherwise in ((bare, ""), (rooted, "mx.example.net")):
    node.wait_for_unit("vsmtp.service")
    for name, subject in named.items():
        assert shown(node, name) == subject, name
    for name in unnamed:
        assert shown(node, name) == otherwise, name
