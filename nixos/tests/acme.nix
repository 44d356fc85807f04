# A certificate of an ACME authority, proved over HTTP-01, shown by server name, and renewed under load.
let
  host = "mx.example.test";
in
{
  name = "vsmtp-acme";

  nodes = {
    # Pebble, the authority that Let's Encrypt made for tests. Names are checked by /etc/hosts, which the test framework writes.
    authority =
      { lib, pkgs, ... }:
      {
        imports = [ ./support/node.nix ];
        services.vsmtp.enable = false;
        testCertificates.authority = [ ];
        networking.firewall.allowedTCPPorts = [
          14000
          15000
        ];
        systemd.services.vsmtp-test-certificates = {
          wantedBy = [ "vsmtp-test-authority.service" ];
          before = [ "vsmtp-test-authority.service" ];
        };
        systemd.services.vsmtp-test-authority = {
          description = "ACME authority for the test";
          wantedBy = [ "multi-user.target" ];
          environment = {
            PEBBLE_VA_NOSLEEP = "1";
            PEBBLE_WFE_NONCEREJECT = "0";
          };
          serviceConfig.ExecStart = "${lib.getExe' pkgs.pebble "pebble"} -config ${
            pkgs.writeText "pebble.json" (
              builtins.toJSON {
                pebble = {
                  listenAddress = "0.0.0.0:14000";
                  managementListenAddress = "0.0.0.0:15000";
                  certificate = "/var/lib/vsmtp-test-certificates/authority.certificate";
                  privateKey = "/var/lib/vsmtp-test-certificates/authority.key";
                  httpPort = 80;
                  tlsPort = 443;
                  ocspResponderURL = "";
                };
              }
            )
          }";
        };
      };

    # Its name is one of the certificate's, which is how the authority finds it.
    mx = {
      imports = [ ./support/node.nix ];
      networking.domain = "example.test";
      networking.firewall.allowedTCPPorts = [ 80 ];

      services.vsmtp.domains."example.test" = {
        tls.useACMEHost = host;
        mailboxes = [ "jane" ];
      };

      security.acme = {
        acceptTerms = true;
        defaults = {
          server = "https://authority:14000/dir";
          email = "postmaster@example.test";
        };
        certs.${host} = {
          listenHTTP = ":80";
          # More than any certificate has left: every run renews.
          validMinDays = 9999;
        };
      };
      # The script puts the authority's own certificate here.
      systemd.services."acme-order-renew-${host}".environment.LEGO_CA_CERTIFICATES =
        "/run/vsmtp-test-authority.pem";
    };
  };

  testScript = builtins.readFile ./acme.py;
}
