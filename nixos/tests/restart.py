import json

maildir = "/var/lib/vsmtp/mail/example.com/jane/new"

machine.wait_for_unit("vsmtp.service")

for security, port in (("clear", 25), ("starttls", 25), ("tls", 465)):
    with subtest(f"three restarts under load, {security}"):
        machine.succeed(
            "rm -f /tmp/load.json /tmp/enough;"
            f" python3 /etc/vsmtp-test-client load --security {security} --port {port} >/tmp/load.log 2>&1 &"
        )
        for _ in range(3):
            before = machine.get_unit_property("vsmtp.service", "MainPID")
            machine.succeed("sleep 1; systemctl restart vsmtp.service")
            assert machine.get_unit_property("vsmtp.service", "MainPID") != before
        machine.succeed("test ! -e /tmp/load.json; sleep 1; touch /tmp/enough")
        machine.wait_for_file("/tmp/load.json", timeout=120)
        load = json.loads(machine.succeed("cat /tmp/load.json"))
        machine.log(f"how connections ended: {load['ends']}")
        # 421 is what an idle client is told while the server goes down: it comes back.
        assert set(load["ends"]) <= {"done", "421"}, load["ends"]
        assert load["ends"]["done"] > 20, load["ends"]
        machine.wait_until_succeeds(f"test $(ls {maildir} | wc -l) -ge {len(load['acknowledged'])}", timeout=60)
        arrived = machine.succeed(f"grep -rh ^Message-ID: {maildir}")
        missing = [one for one in load["acknowledged"] if one not in arrived]
        assert not missing, f"acknowledged and lost: {missing}"
        machine.succeed(f"rm -r {maildir}/*")
