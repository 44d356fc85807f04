# Where programs of NixOS look for it.
sendmail = "/run/wrappers/bin/sendmail"
maildir = "/var/lib/vsmtp/mail/example.com/jane/new"


def arrives(text):
    """The message that has it."""
    return mx.wait_until_succeeds(f"grep -rlF -- {text} {maildir} | xargs cat", timeout=30)


mx.wait_for_unit("vsmtp.service")
mx.succeed("useradd --create-home bob")
user = mx.succeed("id --user bob").strip()
as_bob = "setpriv --reuid=bob --regid=bob --clear-groups"

with subtest("a user sends, and the message says who it was"):
    mx.succeed(f"printf 'To: jane@example.com\\nSubject: hello\\n\\nfrom-bob\\n' | {as_bob} {sendmail} -t")
    message = arrives("from-bob")
    for part in (f"user bob, uid {user}", "Return-Path: <bob@mx.example.com>", "Message-ID:", "Date:", "From:"):
        assert part.lower() in message.lower(), f"{part} is not in {message}"

with subtest("cron reaches whoever reads the mail of root"):
    mx.succeed(
        "printf 'From: \"(Cron Daemon)\" <root>\\nTo: root\\nSubject: Cron <root@mx> job\\n\\nfrom-cron\\n'"
        f" | {sendmail} -FCronDaemon -i -B8BITMIME -oem root"
    )
    arrives("from-cron")

with subtest("what cannot be delivered is said at once"):
    assert mx.execute(f"echo lost | {as_bob} {sendmail} nobody@example.com 2>&1")[0] == 67

with subtest("a daemon that is being restarted is waited for"):
    mx.succeed(
        f"(for n in $(seq 40); do echo waiting-$n | {as_bob} {sendmail} jane@example.com; sleep 0.1; done"
        " && touch /tmp/all-sent) >/tmp/sent 2>&1 &"
    )
    mx.succeed("sleep 0.5; systemctl restart vsmtp.service; sleep 0.5; systemctl restart vsmtp.service")
    mx.succeed("test ! -e /tmp/all-sent")
    mx.wait_for_file("/tmp/all-sent", timeout=60)
    mx.wait_until_succeeds(f"test $(grep -rl '^waiting-' {maildir} | wc -l) = 40", timeout=30)

with subtest("the queue is the business of root"):
    mx.succeed("vqueue list", "mailq")
    mx.fail(f"{as_bob} vqueue list 2>/dev/null")
