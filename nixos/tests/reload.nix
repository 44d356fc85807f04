# A hand-written configuration is changed on the host and read again under load: good, wrong, and good once more.
{ pkgs, ... }:
{
  name = "vsmtp-reload";

  nodes.machine = {
    imports = [ ./support/node.nix ];
    services.vsmtp.configDir = "/var/lib/vsmtp-test-configuration";

    environment.etc.vsmtp-test-origin.source = ./support/origin;
    systemd.services.vsmtp-test-configuration = {
      description = "Configuration for the test";
      before = [ "vsmtp.service" ];
      wantedBy = [ "vsmtp.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = "${pkgs.coreutils}/bin/cp -rL /etc/vsmtp-test-origin /var/lib/vsmtp-test-configuration";
      };
    };
  };

  testScript = builtins.readFile ./reload.py;
}
