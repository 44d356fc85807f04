# services.vsmtp: a mail server from a few options.
#
# The options become a folder of vSL that the daemon itself checks while Nix builds; `service.nix` says how it runs.
# Keys never enter the Nix store: systemd hands them to the daemon as credentials.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib)
    literalExpression
    mkOption
    optionalAttrs
    types
    ;

  cfg = config.services.vsmtp;
  service = import ./service.nix;
  vsl = import ./vsl.nix;

  # Where systemd puts what LoadCredential names; the path is part of systemd's interface for system services.
  credentialsDirectory = "/run/credentials/vsmtp.service";

  # What an option is called in messages.
  domainOption = domain: "services.vsmtp.domains.${lib.strings.escapeNixIdentifier domain}";

  vslType =
    let
      value =
        types.nullOr (
          types.oneOf [
            types.bool
            types.int
            types.float
            types.str
            types.path
            (types.listOf value)
            (types.attrsOf value)
          ]
        )
        // {
          description = "vSL value (null, boolean, number, string, path, list or attribute set)";
        };
    in
    types.attrsOf value // { description = "attribute set of vSL values"; };

  # A path literal would be copied to the store, which everyone can read, as soon as it is used: only strings will do.
  secretFile = lib.mkOptionType {
    name = "secretFile";
    description = "absolute path, as a string, of a file outside of the Nix store (which everyone can read)";
    descriptionClass = "noun";
    check =
      file:
      builtins.isString file
      && lib.hasPrefix "/" file
      && !builtins.hasContext file
      && !lib.hasPrefix builtins.storeDir file;
    merge = lib.mergeEqualOption;
  };

  localPart = types.strMatching "[^@[:space:]]+" // {
    description = "local part of an address (what stands before the @)";
  };

  transportType = types.strMatching "maildir|lmtp:unix:/.+|lmtp:[^:/]+:[0-9]+|smtp://[^/]+" // {
    description = ''transport: "maildir", "lmtp:unix:/path", "lmtp:host:port" or "smtp://host:port"'';
  };

  # Text may begin with a slash too: a comment does.
  isInStore =
    source: lib.isStringLike source && lib.hasPrefix "${builtins.storeDir}/" (toString source);
  isFile = source: builtins.isPath source || isInStore source;

  ruleFile = types.either (types.addCheck types.path isFile) types.lines // {
    description = "file of vSL, as text or as a path";
  };

  rulesOption =
    {
      description,
      example,
      default ? null,
    }:
    mkOption {
      type = types.nullOr (
        types.either ruleFile (types.listOf ruleFile)
        // {
          description = "file of vSL as text or as a path, or a list of those, whose stages are joined in order";
        }
      );
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
      type = types.nullOr secretFile;
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
          type = types.nullOr secretFile;
          default = null;
          example = "/var/lib/secrets/example.com.dkim.pem";
          description = ''
            Key that rules sign mail of this domain with, as a string: a file in the Nix store is refused. Read by systemd when
            the service starts.
          '';
        };
      };

      mailboxes = mkOption {
        type = types.nullOr (types.either (types.enum [ "*" ]) (types.listOf localPart));
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
        type = types.nullOr transportType;
        default = null;
        example = "lmtp:unix:/run/dovecot2/lmtp";
        description = ''
          How mail of this domain is delivered: `"maildir"`, `"lmtp:unix:/path"`, `"lmtp:host:port"` or `"smtp://host:port"`.
          `null` leaves it to the daemon's default, Maildirs below {file}`/var/lib/vsmtp/mail`.
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
        type = vslType;
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

  # -- Certificates and keys: files of the host → credentials → paths that the daemon reads ----------------------------

  acmeDirectory = host: config.security.acme.certs.${host}.directory;

  # [ certificate key ] on the host, or [ ] when there is no TLS.
  pairOf =
    tls:
    if tls.useACMEHost != null then
      [
        "${acmeDirectory tls.useACMEHost}/fullchain.pem"
        "${acmeDirectory tls.useACMEHost}/key.pem"
      ]
    else if tls.certificate != null && tls.privateKey != null then
      [
        "${tls.certificate}"
        tls.privateKey
      ]
    else
      [ ];

  pairCredentials =
    name: tls:
    let
      pair = pairOf tls;
    in
    optionalAttrs (pair != [ ]) {
      "${name}.certificate" = builtins.elemAt pair 0;
      "${name}.key" = builtins.elemAt pair 1;
    };

  pairSettings =
    name: tls:
    optionalAttrs (pairOf tls != [ ]) {
      certificate = "${credentialsDirectory}/${name}.certificate";
      private_key = "${credentialsDirectory}/${name}.key";
    };

  credentials =
    cfg.credentials
    // pairCredentials "root" cfg.tls
    // lib.concatMapAttrs (
      name: domain:
      pairCredentials name domain.tls
      // optionalAttrs (domain.dkim.privateKey != null) { "${name}.dkim" = domain.dkim.privateKey; }
    ) cfg.domains;

  everyTls =
    [
      {
        option = "services.vsmtp.tls";
        inherit (cfg) tls;
      }
    ]
    ++ lib.mapAttrsToList (name: domain: {
      option = "${domainOption name}.tls";
      inherit (domain) tls;
    }) cfg.domains;

  acmeHosts = lib.unique (
    lib.filter (host: host != null) (map ({ tls, ... }: tls.useACMEHost) everyTls)
  );

  hasTls = cfg.configDir != null || lib.any ({ tls, ... }: pairOf tls != [ ]) everyTls;

  # Keys named by hand in free-form settings are the host's, too.
  storedKeys =
    option: value:
    lib.concatLists (
      lib.mapAttrsToList (
        name: inner:
        if name == "private_key" then
          lib.optional (lib.any isFile (lib.toList inner)) "${option}.${name}"
        else
          lib.optionals (lib.isAttrs inner) (storedKeys "${option}.${name}" inner)
      ) value
    );
  keysInStore =
    storedKeys "services.vsmtp.settings" cfg.settings
    ++ lib.concatLists (
      lib.mapAttrsToList (
        name: domain: storedKeys "${domainOption name}.settings" domain.settings
      ) cfg.domains
    );

  # -- The configuration folder -----------------------------------------------------------------------------------------

  rootSettings = lib.recursiveUpdate (optionalAttrs (pairOf cfg.tls != [ ]) {
    server.tls.root = pairSettings "root" cfg.tls;
  }) cfg.settings;

  domainSettings =
    name: domain:
    lib.recursiveUpdate (
      optionalAttrs (pairOf domain.tls != [ ]) { tls = pairSettings name domain.tls; }
      // optionalAttrs (domain.dkim.privateKey != null) {
        dkim = {
          inherit (domain.dkim) selector;
          private_key = "${credentialsDirectory}/${name}.dkim";
        };
      }
      // optionalAttrs (domain.mailboxes != null) { inherit (domain) mailboxes; }
      // optionalAttrs (domain.aliases != { }) { inherit (domain) aliases; }
      // optionalAttrs (domain.transport != null) { inherit (domain) transport; }
    ) domain.settings;

  # A file of the folder and the option that it came from. `source` is text or a file.
  file = option: source: { inherit option source; };

  ruleSource =
    rules:
    let
      text = part: if isFile part then builtins.readFile part else part;
    in
    if lib.isList rules then vsl.joinRules (map text rules) else rules;

  ruleFiles =
    option: folder: rules:
    lib.mapAttrs' (
      name: source:
      lib.nameValuePair "${folder}${name}.vsl" (file "${option}.${name}" (ruleSource source))
    ) (lib.filterAttrs (_: source: source != null) rules);

  # Whoever has said nothing about passwords wants them verified; `null` still refuses every connection.
  filter =
    if cfg.saslauthd.enable && cfg.rules.filter != null then
      lib.toList cfg.rules.filter
      ++ [ ''#{ authenticate: [ rule "services.vsmtp.saslauthd" || auth::unix_users() ] }'' ]
    else
      cfg.rules.filter;

  rootOption =
    "services.vsmtp.settings" + lib.optionalString (cfg.extraConfig != "") " and extraConfig";

  files =
    {
      "conf.d/config.vsl" = file rootOption (
        vsl.rootConfig {
          settings = rootSettings;
          inherit (cfg) extraConfig;
        }
      );
    }
    // ruleFiles "services.vsmtp.rules" "" { inherit filter; }
    // lib.concatMapAttrs (
      name: domain:
      {
        "domain-enabled/${name}/config.vsl" = file (domainOption name) (
          vsl.domainConfig {
            settings = domainSettings name domain;
            inherit (domain) extraConfig;
          }
        );
      }
      // ruleFiles "${domainOption name}.rules" "domain-enabled/${name}/" domain.rules
    ) cfg.domains
    // lib.mapAttrs' (
      name: source:
      lib.nameValuePair "${name}.vsl" (
        file "services.vsmtp.modules.${lib.strings.escapeNixIdentifier name}" source
      )
    ) cfg.modules;

  asFile =
    name: source:
    if isFile source then
      "${source}"
    else
      pkgs.writeText (lib.strings.sanitizeDerivationName (baseNameOf name)) source;

  folder = pkgs.runCommand "vsmtp-configuration" { } (
    "mkdir -p $out/domain-enabled\n"
    + lib.concatStrings (
      lib.mapAttrsToList (name: { source, ... }: ''
        install -D -m 444 ${asFile name source} $out/${lib.escapeShellArg name}
      '') files
    )
  );

  # The build fails with the option that a faulty file came from.
  check = configuration: names: ''
    bash ${./check.sh} ${lib.getExe cfg.package} ${configuration} ${
      pkgs.writeText "vsmtp-options" (
        lib.concatStrings (lib.mapAttrsToList (name: { option, ... }: "${name}\t${option}\n") names)
      )
    }
  '';

  checked =
    configuration: names:
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      pkgs.runCommand "vsmtp-configuration-checked" { } ''
        ${check configuration names}
        cp -rL ${configuration} $out
      ''
    else
      configuration;

  configuration =
    if cfg.configDir == null then
      checked folder files
    else if isFile cfg.configDir then
      checked "${cfg.configDir}" { "" = file "services.vsmtp.configDir" null; }
    else
      # A folder that is there only on the host is checked when the daemon starts.
      cfg.configDir;

  # -- Units ------------------------------------------------------------------------------------------------------------

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
        listenOption "submissions" (lib.optionals hasTls service.sockets.submissions.listen)
        // {
          defaultText = literalExpression ''[ "465" ] where any certificate is configured, otherwise [ ]'';
        };
    };

    tls = tlsOptions;

    settings = mkOption {
      type = types.submodule {
        freeformType = vslType;
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
      type = types.attrsOf ruleFile;
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

    credentials = mkOption {
      type = types.attrsOf secretFile;
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
