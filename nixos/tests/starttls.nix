# One domain, TLS after STARTTLS and TLS from the first octet, mail in the Maildir.
{
  name = "vsmtp-starttls";

  nodes.machine.imports = [
    ./support/node.nix
    (import ./support/test-domain.nix "example.com")
  ];

  testScript = builtins.readFile ./starttls.py;
}
