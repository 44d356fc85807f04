# A certificate is replaced on disk and the service restarted, under load: as the module does after an ACME renewal.
{
  name = "vsmtp-renewal";

  nodes.machine.imports = [
    ./support/node.nix
    (import ./support/test-domain.nix "example.com")
  ];

  testScript = builtins.readFile ./renewal.py;
}
