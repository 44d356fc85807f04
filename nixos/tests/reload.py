import json

client = "python3 /etc/vsmtp-test-client"
configuration = "/var/lib/vsmtp-test-configuration"
maildir = "/var/lib/vsmtp/mail"


def write(file, text):
    machine.succeed(f"cat >{configuration}/{file} <<'END'\n{text}\nEND")


machine.wait_for_unit("vsmtp.service")
pid = machine.get_unit_property("vsmtp.service", "MainPID")
machine.succeed(f"{client} load >/tmp/load.log 2>&1 &")

with subtest("rules"):
    machine.succeed(f"{client} send --from joe@client.test")
    write(
        "filter.vsl",
        '#{ mail: [ rule "not joe" || if ctx::mail_from() == "joe@client.test" { state::deny() } else { state::next() } ] }',
    )
    machine.succeed("systemctl reload vsmtp.service")
    assert "554 5.7.1" in machine.fail(f"{client} send --from joe@client.test")

with subtest("domains"):
    assert "550" in machine.fail(f"{client} send --to joe@example.com")
    write("domain-enabled/example.com/config.vsl", 'fn on_domain_config(config) { config.mailboxes = ["jane", "joe"]; config }')
    machine.succeed("systemctl reload vsmtp.service")
    machine.succeed(f"{client} send --to joe@example.com")
    machine.wait_until_succeeds(f"test $(ls {maildir}/example.com/joe/new | wc -l) = 1", timeout=30)

with subtest("what is wrong changes nothing, and everybody can see it"):
    write("filter.vsl", "#{ mail: [ nonsense( ] }")
    machine.fail("systemctl reload vsmtp.service")
    assert "filter.vsl:1:" in machine.get_unit_property("vsmtp.service", "StatusText")
    machine.require_unit_state("vsmtp.service")
    assert "554 5.7.1" in machine.fail(f"{client} send --from joe@client.test")

with subtest("and a good one again"):
    write("filter.vsl", "#{}")
    machine.succeed("systemctl reload vsmtp.service")
    machine.succeed(f"{client} send --from joe@client.test")
    assert "filter.vsl" not in machine.get_unit_property("vsmtp.service", "StatusText")

with subtest("nobody else has noticed"):
    assert machine.get_unit_property("vsmtp.service", "MainPID") == pid
    machine.succeed("test ! -e /tmp/load.json; touch /tmp/enough")
    machine.wait_for_file("/tmp/load.json", timeout=60)
    ends = json.loads(machine.succeed("cat /tmp/load.json"))["ends"]
    machine.log(f"how connections ended: {ends}")
    assert set(ends) == {"done"} and ends["done"] > 20, ends
