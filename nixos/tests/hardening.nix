# What the daemon may do: hardly anything.
{
  name = "vsmtp-hardening";

  nodes.machine = {
    imports = [
      ./support/node.nix
      (import ./support/test-domain.nix "example.com")
    ];
    services.vsmtp.credentials."database.password" = "/var/lib/vsmtp-test-certificates/example.com.key";
  };

  testScript = builtins.readFile ./hardening.py;
}
