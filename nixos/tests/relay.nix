# Mail between two hosts: by MX, and by the transport of a domain; what cannot be delivered comes back; a host that is down
# gets its mail when it is up again.
let
  node = domain: {
    imports = [
      ./support/node.nix
      (import ./support/test-domain.nix domain)
    ];
    testCertificates.${domain} = [ "mx.${domain}" ];
    services.vsmtp.settings.server.queues.delivery = {
      retry_min = "1s";
      retry_max = "2s";
    };
  };
  resolver =
    { lib, nodes, ... }:
    {
      networking.nameservers = lib.mkForce [ nodes.dns.networking.primaryIPAddress ];
    };
in
{
  name = "vsmtp-relay";

  nodes = {
    alpha = {
      imports = [
        (node "alpha.test")
        resolver
      ];
      services.vsmtp.domains = {
        # Programs of this host may send in the name of its domain.
        "alpha.test".rules.outgoing = ''
          fn of_this_host() {
            if ctx::client_ip() == "127.0.0.1" { state::accept() } else { state::next() }
          }
          #{
            mail: [ rule "programs of this host send" || of_this_host() ],
            rcpt: [ rule "to wherever they like" || of_this_host() ],
          }
        '';
        "behind.test".transport = "smtp://mx.beta.test:25";
      };
    };

    beta.imports = [
      (node "beta.test")
      (import ./support/test-domain.nix "behind.test")
      resolver
    ];

    dns =
      {
        lib,
        nodes,
        pkgs,
        ...
      }:
      {
        imports = [ ./support/node.nix ];
        services.vsmtp.enable = false;
        networking.firewall.allowedUDPPorts = [ 53 ];
        networking.firewall.allowedTCPPorts = [ 53 ];
        systemd.services.vsmtp-test-dns = {
          description = "Name server for the test";
          wantedBy = [ "multi-user.target" ];
          serviceConfig.ExecStart = lib.concatStringsSep " " [
            (lib.getExe pkgs.dnsmasq)
            "--keep-in-foreground --conf-file=/dev/null --pid-file= --user=nobody --no-resolv --no-hosts --local=/#/"
            "--mx-host=alpha.test,mx.alpha.test --host-record=mx.alpha.test,${nodes.alpha.networking.primaryIPAddress}"
            "--mx-host=beta.test,mx.beta.test --host-record=mx.beta.test,${nodes.beta.networking.primaryIPAddress}"
          ];
        };
      };
  };

  testScript = builtins.readFile ./relay.py;
}
