# The systemd units of the daemon, as data: what NixOS and every other distribution with systemd have in common.
#
# `module.nix` builds its units of this; `units.nix` writes it as the plain files under `systemd/`. Nothing here knows
# where the program or its configuration lies.
{
  description = "vsmtp mail server";
  documentation = [ "https://www.rfc-editor.org/rfc/rfc5321" ];

  # For the way down: mail that is under way ends before the network does. On the way up nothing needs to be waited for.
  after = [ "network.target" ];

  # However often it is restarted, by hand or by renewed certificates: with a service that hit the limit its sockets fail
  # too, and mail is refused. Failures are slowed down by RestartSteps below.
  startLimitIntervalSec = 0;

  # Connections wait in these while the daemon restarts: none is refused. By the name of the descriptor the daemon knows
  # which of its listeners a socket is.
  sockets = {
    smtp = {
      description = "vsmtp: mail from other servers (SMTP)";
      listen = [ "25" ];
    };
    submission = {
      description = "vsmtp: mail from users, STARTTLS (submission)";
      listen = [ "587" ];
    };
    submissions = {
      description = "vsmtp: mail from users, TLS from the first octet (submissions)";
      listen = [ "465" ];
    };
  };

  socketConfig = name: {
    FileDescriptorName = name;
    Service = "vsmtp.service";
    # What a busy server may have waiting while it restarts; the kernel's net.core.somaxconn is the other bound.
    Backlog = 4096;
    # An address that is not there yet at boot is no reason to fail.
    FreeBind = true;
    NoDelay = true;
  };

  commands = program: configuration: {
    ExecStart = "${program} serve --config ${configuration}";
    # Beside the signal of Type=notify-reload: the daemon keeps what it has when the new configuration is of no use, and
    # this makes `systemctl reload` fail and say why.
    ExecReload = "${program} check --config ${configuration}";
  };

  # Every key here is checked by the hardening test, `systemd-analyze security` included.
  serviceConfig = {
    Type = "notify-reload";
    # Half of it passes between two pings.
    WatchdogSec = 30;
    # Again after one second, two, four … and then every minute.
    Restart = "on-failure";
    RestartSec = 1;
    RestartSteps = 6;
    RestartMaxDelaySec = 60;
    # EX_CONFIG: a configuration that cannot be used does not get better by trying again.
    RestartPreventExitStatus = 78;
    # SIGTERM lets transactions in flight end.
    TimeoutStopSec = 90;

    User = "vsmtp";
    Group = "vsmtp";
    StateDirectory = "vsmtp";
    StateDirectoryMode = "0750";
    # The control socket lies here: everybody may send mail by it, and no more.
    RuntimeDirectory = "vsmtp";
    UMask = "0027";
    # A session holds a descriptor, a delivery up to three.
    LimitNOFILE = 65536;

    # Ports below 1024 are bound by systemd: not one capability is left.
    AmbientCapabilities = "";
    CapabilityBoundingSet = "";
    NoNewPrivileges = true;
    RestrictSUIDSGID = true;

    # What it may see: its state and nothing else that can be written, no home, no device, no other process.
    DevicePolicy = "closed";
    PrivateDevices = true;
    PrivateMounts = true;
    PrivateTmp = true;
    # Users have no rights, yet stay who they are: the daemon notes whose program hands in mail. systemd before 257 does not
    # know "identity", and the daemon then cannot tell them apart.
    PrivateUsers = [
      true
      "identity"
    ];
    ProcSubset = "pid";
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    KeyringMode = "private";
    PrivateIPC = true;

    # What it may do to the machine: nothing.
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    ProtectClock = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged @resources"
    ];
    # The network is its trade: unix sockets carry LMTP, the journal and readiness. Hence no PrivateNetwork, and no
    # IPAddressDeny.
    RestrictAddressFamilies = [
      "AF_INET"
      "AF_INET6"
      # To ask the kernel for our own addresses: mail whose next hop is one of them goes round in a circle.
      "AF_NETLINK"
      "AF_UNIX"
    ];
  };
}
