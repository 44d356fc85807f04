# The ports of users: their passwords are those of the machine; without one nobody sends in the name of a domain of ours, and
# nothing goes elsewhere.
{
  name = "vsmtp-submission";

  nodes.machine = {
    imports = [
      ./support/node.nix
      (import ./support/test-domain.nix "example.com")
      (import ./support/test-domain.nix "example.org")
    ];
    services.vsmtp.saslauthd.enable = true;
  };

  testScript = builtins.readFile ./submission.py;
}
