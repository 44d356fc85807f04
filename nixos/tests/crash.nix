# The power goes while mail comes in: whatever was acknowledged is in the mailbox afterwards.
let
  domain = import ./support/test-domain.nix "example.com";
in
{
  name = "vsmtp-crash";

  nodes = {
    server.imports = [
      ./support/node.nix
      domain
    ];
    client = {
      imports = [ ./support/node.nix ];
      services.vsmtp.enable = false;
    };
  };

  testScript = builtins.readFile ./crash.py;
}
