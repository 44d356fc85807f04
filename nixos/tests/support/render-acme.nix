# The certificates of a node for render.nix, as commands that write units.
#
# What NixOS runs for a certificate is code of nixpkgs and stays there. These units have the same names and do the same for
# those around them, with the options of `security.acme` and the same client, lego: `acme-HOST` has a self-signed certificate
# ready at once, `acme-order-renew-HOST` gets one from the authority and then runs `postRun`.
{
  lib,
  pkgs,
  node,
}:
let
  unitsOf =
    host: certificate:
    let
      order = "acme-order-renew-${host}";
      names = [ certificate.domain ] ++ certificate.extraDomainNames;
      lego = lib.escapeShellArgs (
        [
          "lego"
          "--accept-tos"
          "--path=."
          "--email=${certificate.email}"
          "--server=${certificate.server}"
          "--http"
          "--http.port=${certificate.listenHTTP}"
        ]
        ++ map (name: "--domains=${name}") names
      );
      script = pkgs.writeText "${order}.sh" ''
        set -eu
        obtained=certificates/${certificate.domain}
        if [ -e "$obtained.crt" ]; then
          ${lego} renew --no-random-sleep --days=${toString certificate.validMinDays}
        else
          ${lego} run
        fi
        cp "$obtained.key" ${certificate.directory}/key.pem
        cp "$obtained.crt" ${certificate.directory}/fullchain.pem
        ${certificate.postRun}
      '';
      environment = lib.mapAttrsToList (
        name: value: "Environment=${name}=${value}\n"
      ) node.systemd.services.${order}.environment;
    in
    {
      "acme-${host}.service" = ''
        [Unit]
        Description=Certificate for ${host}

        [Service]
        Type=oneshot
        RemainAfterExit=true
        StateDirectory=acme/${host}
        WorkingDirectory=${certificate.directory}
        ExecStart=/bin/sh -c 'test -e key.pem || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=${host} -addext subjectAltName=DNS:${host} -keyout key.pem -out fullchain.pem'
      '';
      "${order}.service" = ''
        [Unit]
        Description=Order or renew the certificate for ${host}
        After=acme-${host}.service
        Requires=acme-${host}.service

        [Service]
        Type=oneshot
        StateDirectory=acme/.lego/${host}
        WorkingDirectory=/var/lib/acme/.lego/${host}
        ${lib.concatStrings environment}ExecStart=/bin/sh ${script}
      '';
    };
in
lib.concatStrings (
  lib.mapAttrsToList (name: text: ''
    install -D -m 644 ${pkgs.writeText name text} etc/systemd/system/${name}
  '') (lib.concatMapAttrs unitsOf node.security.acme.certs)
)
