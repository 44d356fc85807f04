"""What the scripts of our tests say to a server: `python3 /etc/vsmtp-test-client COMMAND …`, standard library only.

send      one message; prints the reply that settled it, and before that the one to AUTH. Status 0 when the message was taken
upgrade   MAIL in clear, which must be refused for now; then STARTTLS on the same connection and two messages
load      clients one after the other, until /tmp/enough exists; then /tmp/load.json says how each connection ended, and what
          was acknowledged
"""

import argparse
import base64
import json
import os
import smtplib
import ssl
import sys
import threading
import time
import uuid
from collections import Counter


class Client(smtplib.SMTP):
    """smtplib, save that the name for SNI need not be the host, that certificates go unverified, and that each
    command of a transaction can be looked at."""

    def __init__(self, options, timeout=60):
        self._options = options
        self.last = "connect"
        self._name = options.name or options.to.rpartition("@")[2]
        super().__init__(options.host, options.port, local_hostname="client.test", timeout=timeout)
        expect(250, self.ehlo())
        if options.security == "starttls":
            self.secure()

    def putcmd(self, cmd, args=""):
        self.last = cmd
        super().putcmd(cmd, args)

    def _context(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def _get_socket(self, host, port, timeout):
        plain = super()._get_socket(host, port, timeout)
        if self._options.security == "tls":
            return self._context().wrap_socket(plain, server_hostname=self._name)
        return plain

    def secure(self):
        expect(220, self.docmd("STARTTLS"))
        self.sock = self._context().wrap_socket(self.sock, server_hostname=self._name)
        self.file = None
        self.helo_resp = self.ehlo_resp = None
        expect(250, self.ehlo())

    def authenticate(self):
        """AUTH with what the options say, in the two ways that servers have. Raises Refused with what is no success."""
        options = self._options
        user, password = options.user.encode(), options.password.encode()
        if options.mechanism == "PLAIN":
            return self.respond(235, "AUTH PLAIN " + encode(b"\0" + user + b"\0" + password))
        self.respond(334, "AUTH LOGIN")
        self.respond(334, encode(user))
        return self.respond(235, encode(password))

    def respond(self, code, line):
        reply = self.docmd(line)
        expect(code, reply)
        return reply

    def message(self, identifier):
        """One transaction. Raises Refused with the first reply that is no success."""
        options = self._options
        expect(250, self.docmd(f"MAIL FROM:<{options.sender}>"))
        expect(250, self.docmd(f"RCPT TO:<{options.to}>"))
        header = f"From: <{options.sender}>\nTo: <{options.to}>\nMessage-ID: <{identifier}@client.test>\nSubject: test\n"
        code, text = self.data(f"{header}\n{options.body}\n")
        expect(250, (code, text))
        return code, text


class Refused(Exception):
    def __init__(self, reply):
        super().__init__(show(reply))
        self.code = reply[0]


def expect(code, reply):
    if reply[0] != code:
        raise Refused(reply)


def encode(octets):
    return base64.b64encode(octets).decode()


def show(reply):
    return f"{reply[0]} {reply[1].decode(errors='replace')}"


def send(options):
    try:
        client = Client(options)
        if options.user is not None:
            print(show(client.authenticate()))
        print(show(client.message(options.id or uuid.uuid4())))
        client.quit()
    except (Refused, smtplib.SMTPConnectError) as refused:
        print(refused)
        return 1
    except smtplib.SMTPDataError as refused:
        print(show((refused.smtp_code, refused.smtp_error)))
        return 1
    return 0


def upgrade(options):
    client = Client(options)
    reply = client.docmd(f"MAIL FROM:<{options.sender}>")
    print(show(reply))
    expect(451, reply)
    client.secure()
    print(show(client.message(uuid.uuid4())))
    print(show(client.message(uuid.uuid4())))
    client.quit()
    return 0


def load(options):
    ends = Counter()
    acknowledged = []
    deadline = time.monotonic() + 120

    def one_connection():
        identifier = str(uuid.uuid4())
        client = None
        try:
            client = Client(options)
            client.message(identifier)
            acknowledged.append(identifier)
            client.quit()
            return "done"
        except ConnectionRefusedError:
            return "refused"
        except Refused as refused:
            return str(refused.code)
        except smtplib.SMTPConnectError as refused:
            return str(refused.smtp_code)
        except smtplib.SMTPDataError as refused:
            return str(refused.smtp_code)
        except smtplib.SMTPServerDisconnected:
            # After its message was acknowledged a client has nothing to lose.
            return "done" if identifier in acknowledged else f"cut after {client.last if client else 'connect'}"
        except OSError as error:
            return f"cut after {client.last if client else 'connect'}: {type(error).__name__}"

    def worker():
        while not os.path.exists("/tmp/enough") and time.monotonic() < deadline:
            ends[one_connection()] += 1

    workers = [threading.Thread(target=worker) for _ in range(options.workers)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    with open("/tmp/load.part", "w") as file:
        json.dump({"ends": ends, "acknowledged": acknowledged}, file)
    os.rename("/tmp/load.part", "/tmp/load.json")
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["send", "upgrade", "load"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=25)
    parser.add_argument("--security", choices=["clear", "starttls", "tls"], default="clear")
    parser.add_argument("--name", help="for SNI; the domain of the recipient otherwise")
    parser.add_argument("--from", dest="sender", default="someone@client.test")
    parser.add_argument("--to", default="jane@example.com")
    parser.add_argument("--body", default="Hello")
    parser.add_argument("--id")
    parser.add_argument("--user", help="to authenticate as")
    parser.add_argument("--password", default="")
    parser.add_argument("--mechanism", choices=["PLAIN", "LOGIN"], default="PLAIN")
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    return {"send": send, "upgrade": upgrade, "load": load}[options.command](options)


sys.exit(main())
