# The ports of users: no mail in the name of a domain of ours without authentication, and none for elsewhere.
{
  name = "vsmtp-submission";

  nodes.machine.imports = [
    ./support/node.nix
    (import ./support/test-domain.nix "example.com")
  ];

  testScript = builtins.readFile ./submission.py;
}
