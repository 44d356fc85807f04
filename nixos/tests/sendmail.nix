# Programs of the machine send by sendmail: users, cron, and those that know no domain.
{
  name = "vsmtp-sendmail";

  nodes.mx = {
    imports = [
      ./support/node.nix
      (import ./support/test-domain.nix "example.com")
    ];
    networking.domain = "example.com";
    services.vsmtp.domains."example.com".aliases.root = "jane@example.com";
  };

  testScript = builtins.readFile ./sendmail.py;
}
