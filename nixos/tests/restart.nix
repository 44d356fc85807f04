# Restarts under load: the sockets stay open, and no connection is refused or cut.
{
  name = "vsmtp-restart";

  nodes.machine.imports = [
    ./support/node.nix
    (import ./support/test-domain.nix "example.com")
  ];

  testScript = builtins.readFile ./restart.py;
}
