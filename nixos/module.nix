# services.vsmtp: a mail server from a few options.
#
# The options (`options.nix`) become a folder of vSL that the daemon itself checks while Nix builds (`configuration.nix`);
# `service.nix` says how it runs. Keys never enter the Nix store: systemd hands them to the daemon as credentials
# (`secrets.nix`).
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) optionalAttrs;
  inherit (import ./types.nix { inherit lib; }) domainOption;
  inherit (import ./secrets.nix { inherit config lib; })
    acmeHosts
    credentials
    everyTls
    keysInStore
    ;

  cfg = config.services.vsmtp;
  service = import ./service.nix;
  configuration = import ./configuration.nix { inherit config lib pkgs; };

  # What a hand-written configuration leaves without effect, where someone has set it.
  replaced =
    let
      isSet = option: option.highestPrio < (lib.mkOptionDefault { }).priority;
      generating = {
        inherit (options.services.vsmtp)
          domains
          extraConfig
          modules
          settings
          ;
        "rules.filter" = options.services.vsmtp.rules.filter;
      };
    in
    map (name: "services.vsmtp.${name}") (lib.attrNames (lib.filterAttrs (_: isSet) generating));

  # What has to be there first, as far as it can be.
  companions =
    map (host: "acme-${host}.service") acmeHosts
    ++ lib.optional cfg.saslauthd.enable "saslauthd.service";

  listening = lib.filterAttrs (_: addresses: addresses != [ ]) cfg.listen;
  socketName = name: "vsmtp-${name}";
  socketUnits = map (name: "${socketName name}.socket") (lib.attrNames listening);

  portOf = address: lib.toInt (lib.last (lib.splitString ":" address));
in
{
  imports = [ ./options.nix ];

  config = lib.mkIf cfg.enable {
    assertions =
      lib.concatMap (
        { option, tls }:
        [
          {
            assertion = (tls.certificate == null) == (tls.privateKey == null);
            message = "${option}: `certificate` and `privateKey` are a pair: set both, or `useACMEHost` instead.";
          }
          {
            assertion =
              tls.useACMEHost == null || (tls.certificate == null && tls.privateKey == null);
            message = "${option}: `useACMEHost` takes the place of `certificate` and `privateKey`: leave those out.";
          }
          {
            # One definition is always there: the one below, for renewals.
            assertion =
              tls.useACMEHost == null
              || lib.count (certs: certs ? ${tls.useACMEHost}) options.security.acme.certs.definitions > 1;
            message = "${option}.useACMEHost: security.acme.certs has no entry ${builtins.toJSON tls.useACMEHost}.";
          }
        ]
      ) everyTls
      ++ lib.concatLists (
        lib.mapAttrsToList (name: domain: [
          {
            assertion =
              builtins.match "[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*" name != null;
            message = "${domainOption name}: this is no mail domain: write it in lower case, without a final dot, IDN as xn--….";
          }
          {
            assertion =
              domain.transport == null
              || builtins.match ".*://[^/@]*:[^/@]*@.*" domain.transport == null;
            message = "${domainOption name}.transport: everyone can read the Nix store: keep the password out of it, in a configDir of the host.";
          }
        ]) cfg.domains
      )
      ++ [
        {
          assertion = !(cfg.settings.server ? interfaces);
          message = "services.vsmtp.settings.server.interfaces: the sockets are systemd's: use services.vsmtp.listen.";
        }
        {
          assertion = listening != { };
          message = "services.vsmtp.listen: not one address to listen on.";
        }
        {
          assertion = lib.all (name: builtins.match "[A-Za-z0-9._-]+" name != null) (
            lib.attrNames cfg.credentials
          );
          message = "services.vsmtp.credentials: names are made of letters, digits, dots, dashes and underscores.";
        }
        {
          assertion = cfg.configDir == null || replaced == [ ];
          message = "services.vsmtp.configDir takes the place of the options that generate vSL: leave out ${lib.concatStringsSep ", " replaced}.";
        }
      ]
      ++ map (key: {
        assertion = false;
        message = "${key}: everyone can read the Nix store: keep keys out of it, and name them in a `tls` option with a string.";
      }) keysInStore;

    environment.etc.vsmtp.source = configuration;
    environment.systemPackages = [ cfg.package ];

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall (
      lib.unique (map portOf (lib.concatLists (lib.attrValues listening)))
    );

    users.users.vsmtp = {
      isSystemUser = true;
      group = "vsmtp";
      home = "/var/lib/vsmtp";
      inherit (service) description;
    };
    users.groups = {
      vsmtp = { };
    }
    // optionalAttrs cfg.saslauthd.enable { saslauthd = { }; };

    # It needs no right of its own: the daemon's socket is open to every user.
    services.mail.sendmailSetuidWrapper = lib.mkIf cfg.sendmail.enable {
      program = "sendmail";
      source = lib.getExe' cfg.package "sendmail";
      owner = "root";
      group = "root";
      setuid = false;
      setgid = false;
    };

    services.saslauthd.enable = lib.mkIf cfg.saslauthd.enable true;
    security.pam.services = lib.mkIf cfg.saslauthd.enable { smtp = { }; };

    systemd.sockets = lib.mapAttrs' (
      name: addresses:
      lib.nameValuePair (socketName name) {
        inherit (service.sockets.${name}) description;
        wantedBy = [ "sockets.target" ];
        listenStreams = addresses;
        socketConfig = service.socketConfig name;
      }
    ) listening;

    systemd.services.vsmtp = {
      inherit (service) description documentation startLimitIntervalSec;
      wantedBy = [ "multi-user.target" ];
      wants = companions;
      after = service.after ++ companions;
      # Rules, domains and settings change without a restart. A new certificate or key changes the unit itself.
      reloadTriggers = [ configuration ];
      serviceConfig =
        service.serviceConfig
        // service.commands (lib.getExe cfg.package) "/etc/vsmtp"
        // {
          Sockets = socketUnits;
          LoadCredential = lib.mapAttrsToList (name: source: "${name}:${source}") credentials;
        }
        // optionalAttrs cfg.saslauthd.enable { SupplementaryGroups = [ "saslauthd" ]; };
    };

    # Its socket is open to everybody who can reach it, and answers as often as one likes: the folder is the lock.
    systemd.services.saslauthd = lib.mkIf cfg.saslauthd.enable {
      serviceConfig = {
        Group = lib.mkDefault "saslauthd";
        RuntimeDirectory = lib.mkDefault "saslauthd";
        RuntimeDirectoryMode = lib.mkDefault "0750";
      };
    };

    # A reload would leave what LoadCredential read before systemd 260. The sockets stay open while the daemon restarts.
    security.acme.certs = lib.genAttrs acmeHosts (_: {
      postRun = "systemctl --no-block try-restart vsmtp.service";
    });
  };
}
