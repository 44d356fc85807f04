import json

maildir = "/var/lib/vsmtp/mail/example.com/jane"

start_all()
server.wait_for_unit("vsmtp.service")
client.wait_for_unit("multi-user.target")

acknowledged = []
for _ in range(3):
    client.succeed(
        "rm -f /tmp/load.json /tmp/enough; python3 /etc/vsmtp-test-client load --host server >/tmp/load.log 2>&1 &"
    )
    client.succeed("sleep 2; test ! -e /tmp/load.json")
    server.crash()
    client.succeed("touch /tmp/enough")
    client.wait_for_file("/tmp/load.json", timeout=120)
    load = json.loads(client.succeed("cat /tmp/load.json"))
    client.log(f"how connections ended: {load['ends']}")
    assert load["acknowledged"], "nothing was acknowledged: nothing is proved"
    acknowledged += load["acknowledged"]
    server.start()
    server.wait_for_unit("vsmtp.service")

server.wait_until_succeeds(f"test $(ls {maildir}/new | wc -l) -ge {len(acknowledged)}", timeout=60)
arrived = server.succeed(f"grep -rh ^Message-ID: {maildir}/new")
missing = [one for one in acknowledged if one not in arrived]
assert not missing, f"acknowledged and lost: {missing}"
