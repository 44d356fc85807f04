# Configurations that must not work, each with what its author has to be told, and one that must.
#
#   refusals.NAME   { wrong = a derivation that cannot be evaluated or built; message = part of what is said about it; }
#   accepted.NAME   configurations that are good
#   undocumented    options without a description or an example: none
#   example         what nixos/example.nix comes to
{ lib, pkgs }:
let
  system =
    module:
    lib.nixosSystem {
      modules = [
        { nixpkgs = { inherit pkgs; }; }
        ../../module.nix
        module
      ];
    };

  # The configuration folder, as it would be in /etc, after all that a system build checks.
  configuration =
    module:
    let
      inherit (system module) config;
      failed = map (a: a.message) (
        lib.filter (a: !a.assertion && lib.hasInfix "vsmtp" a.message) config.assertions
      );
    in
    if failed != [ ] then
      throw (lib.concatStringsSep "\n" failed)
    else
      # Whatever is wrong with a unit is wrong with the system, too.
      lib.seq (builtins.toJSON [
        config.systemd.services.vsmtp.serviceConfig
        (lib.mapAttrs (_: socket: socket.listenStreams) config.systemd.sockets)
      ]) config.environment.etc.vsmtp.source;

  vsmtp = settings: {
    services.vsmtp = {
      enable = true;
    }
    // settings;
  };
  domain = settings: vsmtp { domains."example.com" = settings; };

  refusal =
    { message, module }:
    {
      inherit message;
      wrong = configuration module;
    };
in
{
  refusals = {
    rule-syntax = refusal {
      message = ''services.vsmtp.domains."example.com".rules.incoming: domain-enabled/example.com/incoming.vsl:4:'';
      module = domain {
        rules.incoming = ''
          #{
            rcpt: [
              rule "unfinished" || { state::next(
            ]
          }
        '';
      };
    };
    rule-syntax-filter = refusal {
      message = "services.vsmtp.rules.filter: filter.vsl:1:";
      module = vsmtp {
        rules.filter = "#{ mail: [ rule ] }";
      };
    };
    rule-in-list = refusal {
      message = "services.vsmtp.rules.filter: filter.vsl:";
      module = vsmtp {
        rules.filter = [
          ./greeting.vsl
          "#{ mail: [ rule ] }"
        ];
      };
    };
    rule-for-users = refusal {
      message = "services.vsmtp.rules.filter: filter.vsl:";
      module = vsmtp {
        saslauthd.enable = true;
        rules.filter = "#{ mail: [ rule ] }";
      };
    };
    rule-stage = refusal {
      message = "services.vsmtp.rules.filter: filter.vsl";
      module = vsmtp {
        rules.filter = ''#{ nail: [ rule "x" || state::next() ] }'';
      };
    };
    unknown-key = refusal {
      message = "services.vsmtp.settings: conf.d/config.vsl:";
      module = vsmtp {
        settings.server.tls.handshake_timout = "1s";
      };
    };
    unknown-key-name = refusal {
      message = "server.tls.handshake_timout";
      module = vsmtp {
        settings.server.tls.handshake_timout = "1s";
      };
    };
    extra-config = refusal {
      message = "services.vsmtp.settings and extraConfig: conf.d/config.vsl:";
      module = vsmtp {
        extraConfig = "config.server.smtp.rcpt_count_max = many;";
      };
    };
    extra-domain-config = refusal {
      message = ''services.vsmtp.domains."example.com": domain-enabled/example.com/config.vsl:'';
      module = domain {
        extraConfig = "config.mailboxes = nobody;";
      };
    };
    module = refusal {
      message = ''services.vsmtp.modules."objects/networks": objects/networks.vsl:'';
      module = vsmtp {
        modules."objects/networks" = "export const OFFICE = rg4(";
        rules.filter = ''
          import "objects/networks" as networks;
          #{}
        '';
      };
    };
    config-dir = refusal {
      message = "services.vsmtp.configDir: ";
      module = vsmtp {
        configDir = ./.;
      };
    };
    wrong-type = refusal {
      message = "server.smtp.rcpt_count_max";
      module = vsmtp {
        settings.server.smtp.rcpt_count_max = "many";
      };
    };
    unknown-domain-key = refusal {
      message = ''services.vsmtp.domains."example.com": domain-enabled/example.com/config.vsl:'';
      module = domain {
        settings.mailbox = [ "jane" ];
      };
    };
    key-in-store = refusal {
      message = ''services.vsmtp.domains."example.com".tls.privateKey'';
      module = domain {
        tls = {
          certificate = "/var/lib/certificate.pem";
          privateKey = "${builtins.storeDir}/00000000000000000000000000000000-key.pem";
        };
      };
    };
    key-as-path = refusal {
      message = ''services.vsmtp.domains."example.com".tls.privateKey'';
      module = domain {
        tls = {
          certificate = "/var/lib/certificate.pem";
          privateKey = ./evaluations.nix;
        };
      };
    };
    root-key-in-store = refusal {
      message = "services.vsmtp.settings.server.tls.root.private_key";
      module = vsmtp {
        settings.server.tls.root = {
          certificate = "/var/lib/certificate.pem";
          private_key = ./evaluations.nix;
        };
      };
    };
    domain-key-in-store = refusal {
      message = ''services.vsmtp.domains."example.com".settings.tls.private_key'';
      module = domain {
        settings.tls = {
          certificate = "/var/lib/certificate.pem";
          private_key = ./evaluations.nix;
        };
      };
    };
    dkim-key-in-store = refusal {
      message = ''services.vsmtp.domains."example.com".dkim.privateKey'';
      module = domain {
        dkim.privateKey = ./evaluations.nix;
      };
    };
    credential-in-store = refusal {
      message = "services.vsmtp.credentials";
      module = vsmtp {
        credentials.password = ./evaluations.nix;
      };
    };
    credential-name = refusal {
      message = "services.vsmtp.credentials: names are made of letters";
      module = vsmtp {
        credentials."a/b" = "/var/lib/secrets/password";
      };
    };
    certificate-without-key = refusal {
      message = ''services.vsmtp.domains."example.com".tls: `certificate` and `privateKey` are a pair'';
      module = domain {
        tls.certificate = "/var/lib/certificate.pem";
      };
    };
    key-without-certificate = refusal {
      message = "services.vsmtp.tls: `certificate` and `privateKey` are a pair";
      module = vsmtp {
        tls.privateKey = "/var/lib/key.pem";
      };
    };
    acme-and-file = refusal {
      message = ''services.vsmtp.domains."example.com".tls: `useACMEHost` takes the place'';
      module = {
        imports = [
          (domain {
            tls.useACMEHost = "example.com";
            tls.certificate = "/var/lib/certificate.pem";
            tls.privateKey = "/var/lib/key.pem";
          })
        ];
        security.acme.certs."example.com".email = "jane@example.com";
      };
    };
    acme-unknown = refusal {
      message = ''services.vsmtp.domains."example.com".tls.useACMEHost: security.acme.certs has no entry "mail.example.com"'';
      module = domain {
        tls.useACMEHost = "mail.example.com";
      };
    };
    transport = refusal {
      message = ''services.vsmtp.domains."example.com".transport'';
      module = domain {
        transport = "pigeon";
      };
    };
    transport-port = refusal {
      message = ''services.vsmtp.domains."example.com": domain-enabled/example.com/config.vsl:'';
      module = domain {
        transport = "smtp://mx.example.net:smtp";
      };
    };
    transport-password = refusal {
      message = ''services.vsmtp.domains."example.com".transport: everyone can read the Nix store'';
      module = domain {
        transport = "smtps://jane:secret@smart.example.net";
      };
    };
    mailbox = refusal {
      message = ''services.vsmtp.domains."example.com".mailboxes'';
      module = domain {
        mailboxes = [ "jane@example.com" ];
      };
    };
    domain-name = refusal {
      message = ''services.vsmtp.domains."Example.com": this is no mail domain'';
      module = vsmtp {
        domains."Example.com" = { };
      };
    };
    domain-path = refusal {
      message = ''services.vsmtp.domains."../x": this is no mail domain'';
      module = vsmtp {
        domains."../x" = { };
      };
    };
    interfaces = refusal {
      message = "services.vsmtp.settings.server.interfaces";
      module = vsmtp {
        settings.server.interfaces.addr = [ "0.0.0.0:25" ];
      };
    };
    listen = refusal {
      message = "services.vsmtp.listen.smtp";
      module = vsmtp {
        listen.smtp = [ "localhost" ];
      };
    };
    nowhere = refusal {
      message = "services.vsmtp.listen: not one address";
      module = vsmtp {
        listen = {
          smtp = [ ];
          submission = [ ];
          submissions = [ ];
        };
      };
    };
    two-sources = refusal {
      message = "leave out services.vsmtp.domains, services.vsmtp.settings";
      module = vsmtp {
        configDir = "/srv/vsmtp";
        domains."example.com" = { };
        settings.server.name = "mx.example.com";
      };
    };
    function = refusal {
      message = "services.vsmtp.settings.server.list";
      module = vsmtp {
        settings.server.list = lib.mkForce [ (x: x) ];
      };
    };
  };

  accepted = {
    alone = configuration (vsmtp { });
    transports = configuration (vsmtp {
      domains = lib.mapAttrs (_: transport: { inherit transport; }) {
        "maildir.example" = "maildir";
        "mbox.example" = "mbox";
        "store.example" = "lmtp:unix:/run/dovecot2/lmtp";
        "remote-store.example" = "lmtp:[2001:db8::1]:24";
        "behind.example" = "smtp://mx.behind.example:2525?tls=required";
        "secret.example" = "smtps://mx.secret.example";
      };
    });
  };

  undocumented =
    let
      documented = option: option ? description && option ? example;
      all = lib.optionAttrSetToDocList (system { }).options.services.vsmtp;
    in
    map (option: option.name) (
      lib.filter (option: option.visible && !option.internal && !documented option) all
    );

  example =
    let
      inherit (system ../../example.nix) config;
      unit = config.systemd.services.vsmtp;
    in
    {
      configuration = configuration ../../example.nix;
      facts = {
        inherit (unit) after wants;
        groups = unit.serviceConfig.SupplementaryGroups;
        saslauthd = config.systemd.services.saslauthd.serviceConfig;
        pam = config.security.pam.services ? smtp;
        credentials = unit.serviceConfig.LoadCredential;
        ports = config.networking.firewall.allowedTCPPorts;
        renewals = lib.mapAttrs (_: certificate: certificate.postRun) config.security.acme.certs;
      };
    };
}
