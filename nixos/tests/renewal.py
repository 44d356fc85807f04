import json

directory = "/var/lib/vsmtp-test-certificates"


def serial():
    return machine.succeed(
        "openssl s_client -starttls smtp -connect 127.0.0.1:25 -servername example.com </dev/null 2>/dev/null"
        " | openssl x509 -noout -serial"
    )


machine.wait_for_unit("vsmtp.service")
first = serial()
machine.succeed("python3 /etc/vsmtp-test-client load --security starttls >/tmp/load.log 2>&1 &")
machine.sleep(2)
machine.succeed(
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=example.com"
    f" -addext subjectAltName=DNS:example.com -keyout {directory}/new.key -out {directory}/new.certificate",
    f"mv {directory}/new.key {directory}/example.com.key",
    f"mv {directory}/new.certificate {directory}/example.com.certificate",
    "systemctl --no-block try-restart vsmtp.service",
)
retry(lambda _: serial() != first, 30)
machine.succeed("test ! -e /tmp/load.json; sleep 1; touch /tmp/enough")
machine.wait_for_file("/tmp/load.json", timeout=60)
load = json.loads(machine.succeed("cat /tmp/load.json"))
machine.log(f"how connections ended: {load['ends']}")
assert set(load["ends"]) <= {"done", "421"}, load["ends"]
assert load["ends"]["done"] > 20, load["ends"]
