# The options of services.vsmtp.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    literalExpression
    mkOption
    types
    ;

  ours = import ./types.nix { inherit lib; };
  service = import ./service.nix;
  secrets = import ./secrets.nix { inherit config lib; };

  rulesOption =
    {
      description,
      example,
      default ? null,
    }:
    mkOption {
      type = types.nullOr ours.rules;
      inherit default description;
      example = literalExpression example;
    };

  tlsOptions = {
    certificate = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/var/lib/certs/example.com/fullchain.pem";
      description = ''
        Certificate chain in PEM form. Read by systemd when the service starts, so that it may belong to root alone. After
        a renewal, restart `vsmtp.service`: its sockets stay open meanwhile, and no connection is refused.
      '';
    };
    privateKey = mkOption {
      type = types.nullOr ours.secretFile;
      default = null;
      example = "/var/lib/certs/example.com/privkey.pem";
      description = ''
        Private key of {option}`certificate` in PEM form (PKCS#8, PKCS#1 or SEC1), as a string: a file in the Nix store is
        refused. Read by systemd when the service starts, so that it may belong to root alone.
      '';
    };
    useACMEHost = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "mail.example.com";
      description = ''
        Name of an entry of {option}`security.acme.certs` whose certificate and key to use instead of {option}`certificate`
        and {option}`privateKey`. The service waits for the first certificate and restarts at each renewal.
      '';
    };
  };

  domainModule = {
    options = {
      tls = tlsOptions;

      dkim = {
        selector = mkOption {
          type = types.str;
          default = "default";
          example = "2026a";
          description = "Selector that the public key is published under: `SELECTOR._domainkey.DOMAIN`.";
        };
        privateKey = mkOption {
          type = types.nullOr ours.secretFile;
          default = null;
          example = "/var/lib/secrets/example.com.dkim.pem";
          description = ''
            Key that rules sign mail of this domain with, as a string: a file in the Nix store is refused. Read by systemd when
            the service starts.
          '';
        };
      };

      mailboxes = mkOption {
        type = types.nullOr (types.either (types.enum [ "*" ]) (types.listOf ours.localPart));
        default = null;
        example = [
          "postmaster"
          "jane"
        ];
        description = ''
          Local parts that mail is accepted for, or `"*"` for every one. `null` leaves it to the daemon's default.
        '';
      };

      aliases = mkOption {
        type = types.attrsOf (types.coercedTo types.str lib.singleton (types.listOf types.str));
        default = { };
        example = {
          postmaster = "jane@example.com";
          team = [
            "jane@example.com"
            "joe@example.org"
          ];
        };
        description = "Local parts whose mail goes to other addresses.";
      };

      transport = mkOption {
        type = types.nullOr ours.transport;
        default = null;
        example = "lmtp:unix:/run/dovecot2/lmtp";
        description = ''
          How mail of this domain is delivered: `"maildir"`, `"mbox"`, `"lmtp:unix:/path"`, `"lmtp:host:port"`,
          `"smtp://host:port"` (with `?tls=required` to insist on a certificate that we trust) or `"smtps://host"`. `null` leaves
          it to the daemon's default, Maildirs below {file}`/var/lib/vsmtp/mail`.
        '';
      };

      rules = {
        incoming = rulesOption {
          description = "Rules for mail from other domains to this one.";
          example = ''
            '''
              #{
                rcpt: [
                  rule "no mail for the list from outside" || {
                    if ctx::rcpt().local_part == "all" { state::deny(code(550, "5.7.1", "Members only")) } else { state::next() }
                  },
                ],
              }
            '''
          '';
        };
        outgoing = rulesOption {
          description = "Rules for mail of this domain to others.";
          example = "./outgoing.vsl";
        };
        internal = rulesOption {
          description = "Rules for mail within this domain.";
          example = "[ ./no-large-files.vsl ./office-hours.vsl ]";
        };
      };

      settings = mkOption {
        type = ours.vsl;
        default = { };
        example = {
          tls.protocol_version = "TLSv1.3";
        };
        description = "Further keys of the domain's configuration.";
      };

      extraConfig = mkOption {
        type = types.lines;
        default = "";
        example = ''config.tls.protocol_version = "TLSv1.3";'';
        description = "Lines of vSL at the end of the domain's `on_domain_config(config)`.";
      };
    };
  };

  listenOption =
    name: default:
    mkOption {
      type = types.listOf (types.strMatching "(.*:)?[0-9]+");
      inherit default;
      example = [
        "192.0.2.1:${lib.head service.sockets.${name}.listen}"
        "[2001:db8::1]:${lib.head service.sockets.${name}.listen}"
      ];
      description = ''
        Where to listen for ${name}: a port, for every address, or `ADDRESS:PORT`. systemd opens the sockets, so that the daemon
        needs no privilege and no connection is refused while it restarts. An empty list opens none.
      '';
    };
in
{
  options.services.vsmtp = {
    enable = lib.mkEnableOption "vsmtp, a mail server whose policy is a script";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = literalExpression "pkgs.callPackage ./package.nix { }";
      example = literalExpression "inputs.vsmtp.packages.\${pkgs.stdenv.hostPlatform.system}.vsmtp";
      description = "The package to run.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether to open the ports of {option}`services.vsmtp.listen` in the firewall.";
    };

    listen = {
      smtp = listenOption "smtp" service.sockets.smtp.listen;
      submission = listenOption "submission" service.sockets.submission.listen;
      submissions =
        listenOption "submissions" (lib.optionals secrets.hasTls service.sockets.submissions.listen)
        // {
          defaultText = literalExpression ''[ "465" ] where any certificate is configured, otherwise [ ]'';
        };
    };

    tls = tlsOptions;

    settings = mkOption {
      type = types.submodule {
        freeformType = ours.vsl;
        options.server.name = mkOption {
          type = types.str;
          default = config.networking.fqdnOrHostName;
          defaultText = literalExpression "config.networking.fqdnOrHostName";
          example = "mail.example.com";
          description = "Name that the server gives itself in its greeting, in EHLO and in Received.";
        };
      };
      default = { };
      example = {
        server = {
          message_size_limit = "50MB";
          tls = {
            protocol_version = "TLSv1.3";
            handshake_timeout = "1s";
          };
          smtp.rcpt_count_max = 100;
        };
      };
      description = ''
        The root configuration: every key of `on_config(config)` under its own name. What is left out takes the daemon's
        default; what the daemon does not know fails the build.
      '';
    };

    extraConfig = mkOption {
      type = types.lines;
      default = "";
      example = "config.server.smtp.rcpt_count_max = 100;";
      description = "Lines of vSL at the end of `on_config(config)`.";
    };

    rules.filter = rulesOption {
      default = "#{}";
      description = ''
        Rules for every connection, and for mail that is neither from nor to one of {option}`services.vsmtp.domains`. `null`
        refuses every connection. The default leaves all to the built-in guard: mail is accepted for the mailboxes of the
        domains, and relayed for nobody.
      '';
      example = ''
        '''
          #{
            mail: [
              rule "deny unencrypted" || {
                if ctx::is_secured() {
                  state::next()
                } else {
                  state::deny(code(451, "5.7.3", "Must issue a STARTTLS command first"))
                }
              },
            ],
          }
        '''
      '';
    };

    modules = mkOption {
      type = types.attrsOf ours.ruleFile;
      default = { };
      example = literalExpression ''
        {
          "objects/networks" = '''
            export const OFFICE = rg4("192.0.2.0/24");
          ''';
        }
      '';
      description = "Further files of vSL that rules and configuration `import` by these names.";
    };

    domains = mkOption {
      type = types.attrsOf (types.submodule domainModule);
      default = { };
      example = literalExpression ''
        {
          "example.com" = {
            tls.useACMEHost = "mail.example.com";
            mailboxes = [ "jane" ];
            aliases.postmaster = "jane@example.com";
          };
        }
      '';
      description = "The mail domains that this server is responsible for.";
    };

    saslauthd.enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether users of this machine may authenticate (AUTH, over TLS) with their passwords. This starts
        {option}`services.saslauthd`, which verifies them with PAM (service `smtp`), lets nobody but root and the group
        `saslauthd` ask it, and adds a rule at the end of the stage `authenticate` of
        {option}`services.vsmtp.rules.filter`: rules there may refuse a user before. A hand-written
        {option}`services.vsmtp.configDir` needs that rule itself: `rule "users" || auth::unix_users()`.
      '';
    };

    sendmail.enable = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether programs of this machine send mail by this server: its `sendmail` becomes that of the system,
        {file}`/run/wrappers/bin/sendmail`. Every user may send; the message says who did.
      '';
    };

    credentials = mkOption {
      type = types.attrsOf ours.secretFile;
      default = { };
      example = {
        "database.password" = "/var/lib/secrets/vsmtp-database";
      };
      description = ''
        Further secret files for rules and hand-written configuration, which read them as
        {file}`/run/credentials/vsmtp.service/NAME`. systemd reads them when the service starts, so that they may belong to
        root alone.
      '';
    };

    configDir = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = literalExpression "./vsmtp";
      description = ''
        A folder of hand-written vSL to use instead of what the other options generate. A path of the flake is checked while
        Nix builds; a string such as `"/srv/vsmtp"` names a folder of the host, checked when the daemon starts. Certificates and
        keys must be readable by the user `vsmtp`, or come through {option}`services.vsmtp.credentials`.
      '';
    };
  };
}
