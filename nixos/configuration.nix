# The configuration folder: what the options say, as vSL, checked by the daemon itself.
{
  config,
  lib,
  pkgs,
}:
let
  inherit (lib) optionalAttrs;
  inherit (import ./types.nix { inherit lib; }) domainOption isFile;
  inherit (import ./secrets.nix { inherit config lib; })
    credentialsDirectory
    pairOf
    pairSettings
    ;

  cfg = config.services.vsmtp;
  vsl = import ./vsl.nix;

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
in
if cfg.configDir == null then
  checked folder files
else if isFile cfg.configDir then
  checked "${cfg.configDir}" { "" = file "services.vsmtp.configDir" null; }
else
  # A folder that is there only on the host is checked when the daemon starts.
  cfg.configDir
