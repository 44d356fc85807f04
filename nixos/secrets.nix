# Certificates and keys: which files of the host become which credentials, and where the daemon finds those.
{ config, lib }:
let
  inherit (lib) optionalAttrs;
  inherit (import ./types.nix { inherit lib; }) domainOption isFile;

  cfg = config.services.vsmtp;

  # Where systemd puts what LoadCredential names; the path is part of systemd's interface for system services.
  credentialsDirectory = "/run/credentials/vsmtp.service";

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
in
{
  inherit
    acmeHosts
    credentials
    credentialsDirectory
    everyTls
    hasTls
    keysInStore
    pairOf
    pairSettings
    ;
}
