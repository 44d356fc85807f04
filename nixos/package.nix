{
  installShellFiles,
  lib,
  openssl,
  python3,
  rustPlatform,
  stdenv,
  # Databases for rules; SQLite is always there.
  withMysql ? true,
  withPostgresql ? true,
  withRedis ? true,
}:

let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # What the build and its tests read, so that a change of anything else does not rebuild.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../.ci/run
      ../Cargo.lock
      ../Cargo.toml
      ../README.md
      ../src
      ../tests
      ./systemd
    ];
  };

  cargoLock.lockFile = ../Cargo.lock;

  buildFeatures =
    lib.optional withMysql "mysql"
    ++ lib.optional withPostgresql "postgresql"
    ++ lib.optional withRedis "redis";

  # Clients that tests speak as; tests whose client is missing are ignored.
  nativeCheckInputs = [
    openssl
    python3
  ];

  nativeBuildInputs = [ installShellFiles ];

  # The plain unit files are for distributions that are not NixOS: `systemctl link`, or copy.
  postInstall =
    lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
      $out/bin/vsmtp man >vsmtp.1
      installManPage vsmtp.1
      for shell in bash fish zsh; do
        $out/bin/vsmtp completions $shell >vsmtp.$shell
      done
      installShellCompletion vsmtp.{bash,fish,zsh}
    ''
    + ''
      for name in mailq newaliases sendmail vqueue; do
        ln -s vsmtp $out/bin/$name
      done
      install -D -m 444 -t $out/lib/systemd/system nixos/systemd/*.service nixos/systemd/*.socket
      install -D -m 444 nixos/systemd/vsmtp.sysusers.conf $out/lib/sysusers.d/vsmtp.conf
      substituteInPlace $out/lib/systemd/system/vsmtp.service --replace-fail /usr/bin/vsmtp $out/bin/vsmtp
    '';

  meta = {
    inherit (manifest) description;
    longDescription = ''
      An SMTP server (MTA and MSA) in Rust. Its configuration and its policy are scripts in vSL, a dialect of Rhai, checked
      before the server starts.
    '';
    license = [
      lib.licenses.mit
      lib.licenses.asl20
    ];
    mainProgram = "vsmtp";
    maintainers = [ ];
    platforms = lib.platforms.linux;
  };
}
