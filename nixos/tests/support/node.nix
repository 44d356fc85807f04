# What every node of our tests is: the module, a certificate for each name of `testCertificates`, and the programs that
# the scripts use.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  directory = "/var/lib/vsmtp-test-certificates";
in
{
  imports = [ ../../module.nix ];

  options.testCertificates = lib.mkOption {
    type = lib.types.attrsOf (lib.types.listOf lib.types.str);
    default = { };
    example = {
      "example.com" = [ "mail.example.com" ];
    };
    description = ''
      Self-signed certificates to make at boot as ${directory}/NAME.{certificate,key}, with the further names that each is
      good for.
    '';
  };

  config = {
    services.vsmtp = {
      enable = lib.mkDefault true;
      openFirewall = true;
    };

    environment.systemPackages = [
      pkgs.openssl
      pkgs.python3
    ];
    environment.etc.vsmtp-test-client.source = ./client.py;

    systemd.services.vsmtp-test-certificates = lib.mkIf (config.testCertificates != { }) {
      description = "Certificates for the test";
      before = [ "vsmtp.service" ];
      wantedBy = [ "vsmtp.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        StateDirectory = baseNameOf directory;
        UMask = "0077";
        ExecStart = lib.mapAttrsToList (
          name: others:
          lib.concatStringsSep " " [
            "${pkgs.openssl}/bin/openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30"
            "-subj /CN=${name}"
            "-addext subjectAltName=${lib.concatMapStringsSep "," (host: "DNS:${host}") ([ name ] ++ others)}"
            "-keyout ${directory}/${name}.key -out ${directory}/${name}.certificate"
          ]
        ) config.testCertificates;
      };
    };
  };
}
