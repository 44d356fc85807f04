# The nodes of a NixOS test as folders that an ordinary distribution with systemd can take on: the units that the
# NixOS modules generate, the files of /etc and the users, each as far as its name begins with "vsmtp".
#
#   NODE/etc/systemd/system/…   units with their links from targets and services
#   NODE/etc/…                  environment.etc; the test client is left out, nixos/tests/run adds it as it is now
#   NODE/usr/lib/sysusers.d/…   users and groups
#
# The same goes for saslauthd, which our module starts. For certificates of ACME see render-acme.nix. Nothing in there refers
# to the Nix store: our own program is in /opt/vsmtp, all others are those of the distribution, and single files are in
# /etc/vsmtp-test-files.
{
  lib,
  pkgs,
  test,
}:
let
  ours = lib.filterAttrs (
    name: _:
    (lib.hasPrefix "vsmtp" name || lib.hasPrefix "saslauthd" name) && name != "vsmtp-test-client"
  );

  renderUnit =
    name: unit:
    let
      link = suffix: target: ''
        mkdir -p etc/systemd/system/${target}.${suffix}
        ln -s ../${name} etc/systemd/system/${target}.${suffix}/${name}
      '';
    in
    ''
      install -D -m 644 ${unit.unit}/${lib.escapeShellArg name} etc/systemd/system/${name}
    ''
    + lib.concatMapStrings (link "wants") unit.wantedBy
    + lib.concatMapStrings (link "requires") unit.requiredBy;

  # What is no file of the store is there only on the node.
  renderFile =
    file:
    ''
      mkdir -p "$(dirname etc/${file.target})"
    ''
    + (
      if lib.hasPrefix builtins.storeDir "${file.source}" then
        ''
          cp -rL ${file.source} etc/${file.target}
          chmod -R u+w etc/${file.target}
        ''
      else
        ''
          ln -s ${file.source} etc/${file.target}
        ''
    );

  renderUser = user: ''
    echo 'u ${user.name} - "${user.description}" ${user.home}' >>usr/lib/sysusers.d/vsmtp.conf
  '';

  renderGroup = group: ''
    echo 'g ${group.name} -' >>usr/lib/sysusers.d/vsmtp.conf
  '';

  # The network that the test framework gives the node.
  renderNetwork =
    networking:
    ''
      printf '%s\n' '127.0.0.1 localhost' '::1 localhost' ${lib.escapeShellArg networking.extraHosts} >etc/hosts
    ''
    + lib.concatMapStrings (address: ''
      echo 'nameserver ${address}' >>etc/resolv.conf
    '') networking.nameservers;

  # Where NixOS has wrappers, made at each boot.
  renderSendmail =
    wrapper:
    lib.optionalString (wrapper != null) ''
      install -d etc/tmpfiles.d
      echo 'L /run/wrappers/bin/sendmail - - - - ${wrapper.source}' >etc/tmpfiles.d/vsmtp-test.conf
    '';

  renderNode =
    name: node:
    let
      failed = map (a: a.message) (lib.filter (a: !a.assertion) node.assertions);
    in
    if failed != [ ] then
      throw "node ${name}: ${lib.concatStringsSep "\n" failed}"
    else
      ''
        mkdir -p $out/${name}/etc $out/${name}/usr/lib/sysusers.d
        cd $out/${name}
      ''
      + renderNetwork node.networking
      + renderSendmail node.services.mail.sendmailSetuidWrapper
      + lib.concatStrings (lib.mapAttrsToList renderUnit (ours node.systemd.units))
      + lib.concatMapStrings renderFile (lib.attrValues (ours node.environment.etc))
      + lib.concatMapStrings renderUser (lib.attrValues (ours node.users.users))
      + lib.concatMapStrings renderGroup (lib.attrValues (ours node.users.groups))
      + import ./render-acme.nix { inherit lib pkgs node; }
      + ''
        grep -rlZ '^X-.*-Triggers=' . | xargs -0r sed -i '/^X-.*-Triggers=/d'
        for file in $(grep -rhoE '${builtins.storeDir}/[a-z0-9]{32}-[^/ :"]+' . | sort -u); do
          if [ -f "$file" ]; then
            install -D -m 644 "$file" "etc/vsmtp-test-files/$(basename "$file" | cut -c 34-)"
          fi
        done
      '';
in
pkgs.runCommand "vsmtp-test-nodes-${test.config.name}" { } ''
  ${lib.concatStrings (lib.mapAttrsToList renderNode test.config.nodes)}
  cd $out
  grep -rlZ ${builtins.storeDir} . | xargs -0r sed -i -E '
    s#${builtins.storeDir}/[a-z0-9]{32}-vsmtp-[0-9][^/]*/#/opt/vsmtp/#g
    s#${builtins.storeDir}/[a-z0-9]{32}-[^/ :"]*/#/usr/#g
    s#${builtins.storeDir}/[a-z0-9]{32}-#/etc/vsmtp-test-files/#g
  '
  ! grep -rn ${builtins.storeDir} .
''
