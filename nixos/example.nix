# A mail server for two domains with certificates from an ACME authority: a complete NixOS module.
{ ... }:
{
  networking.hostName = "mx";
  networking.domain = "example.com";

  services.vsmtp = {
    enable = true;
    openFirewall = true;

    # For clients that name no server.
    tls.useACMEHost = "mx.example.com";

    # Users of this machine send with their passwords.
    saslauthd.enable = true;

    settings.server = {
      message_size_limit = "50MB";
      smtp.rcpt_count_max = 100;
    };

    domains."example.com" = {
      # Good for example.com as well: see security.acme.certs below.
      tls.useACMEHost = "mx.example.com";
      mailboxes = [
        "jane"
        "joe"
      ];
      aliases.postmaster = "jane@example.com";
    };

    domains."example.org" = {
      tls.useACMEHost = "example.org";
      mailboxes = [ "info" ];
      aliases.postmaster = "jane@example.com";
      rules.incoming = ''
        #{
          rcpt: [
            rule "info only over TLS" || {
              if ctx::is_secured() {
                state::next()
              } else {
                state::deny(code(451, "5.7.3", "Must issue a STARTTLS command first"))
              }
            },
          ],
        }
      '';
    };
  };

  security.acme = {
    acceptTerms = true;
    defaults.email = "postmaster@example.com";
    # Port 80 must be free for the authority's questions, or use dnsProvider.
    certs."mx.example.com" = {
      listenHTTP = ":80";
      extraDomainNames = [ "example.com" ];
    };
    certs."example.org".listenHTTP = ":80";
  };

  networking.firewall.allowedTCPPorts = [ 80 ];
}
