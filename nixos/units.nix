# `service.nix` as unit files for any distribution with systemd: an attribute set of file name → text.
# The files are committed under `systemd/`; `tests/run units` fails when they differ from this.
{
  program ? "/usr/bin/vsmtp",
  configuration ? "/etc/vsmtp",
}:
let
  service = import ./service.nix;
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    isBool
    isList
    listToAttrs
    map
    ;

  text = v: if isBool v then (if v then "true" else "false") else toString v;
  listOf = v: if isList v then v else [ v ];
  lines = set: concatMap (key: map (v: "${key}=${text v}") (listOf set.${key})) (attrNames set);
  section = name: set: "[${name}]\n" + concatStringsSep "" (map (line: line + "\n") (lines set));
  unit = sections: concatStringsSep "\n" sections;

  names = attrNames service.sockets;
  socketUnit = name: "vsmtp-${name}.socket";

  socket = name: {
    name = socketUnit name;
    value = unit [
      (section "Unit" { Description = service.sockets.${name}.description; })
      (section "Socket" (
        service.socketConfig name // { ListenStream = service.sockets.${name}.listen; }
      ))
      (section "Install" { WantedBy = "sockets.target"; })
    ];
  };
in
listToAttrs (map socket names)
// {
  "vsmtp.service" = unit [
    (section "Unit" {
      Description = service.description;
      Documentation = service.documentation;
      After = service.after;
      StartLimitIntervalSec = service.startLimitIntervalSec;
    })
    (section "Service" (
      service.serviceConfig
      // service.commands program configuration
      // {
        Sockets = map socketUnit names;
      }
    ))
    (section "Install" {
      WantedBy = "multi-user.target";
      Also = map socketUnit names;
    })
  ];

  "vsmtp.sysusers.conf" = ''
    u vsmtp - "${service.description}" /var/lib/vsmtp
  '';
}
