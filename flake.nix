{
  description = "vsmtp, a mail server whose policy is a script, and the NixOS module that runs it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;

      forEachSystem =
        outputsOf:
        lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
        ] (system: outputsOf nixpkgs.legacyPackages.${system});

      # Each nixos/tests/NAME.nix with a script NAME.py beside it is a test.
      testNames = map (lib.removeSuffix ".py") (
        lib.filter (file: lib.hasSuffix ".py" file) (lib.attrNames (builtins.readDir ./nixos/tests))
      );
      testsFor =
        pkgs: lib.genAttrs testNames (name: pkgs.testers.runNixOSTest ./nixos/tests/${name}.nix);
    in
    {
      overlays.default = final: _: { vsmtp = final.callPackage ./nixos/package.nix { }; };

      nixosModules = {
        vsmtp = ./nixos/module.nix;
        default = self.nixosModules.vsmtp;
      };

      packages = forEachSystem (pkgs: rec {
        vsmtp = pkgs.callPackage ./nixos/package.nix { };
        default = vsmtp;
      });

      # `nix run`: a demo that needs no configuration.
      apps = forEachSystem (
        pkgs:
        let
          inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) vsmtp;
        in
        {
          default = {
            type = "app";
            program = lib.getExe (
              pkgs.writeShellApplication {
                name = "vsmtp-quickstart";
                text = ''exec ${lib.getExe vsmtp} quickstart "$@"'';
              }
            );
            meta.description = "Start a demo server with certificates, rules and mailboxes of its own";
          };
        }
      );

      checks = forEachSystem (
        pkgs:
        let
          inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) vsmtp;
          lint =
            name: command:
            vsmtp.overrideAttrs (old: {
              name = "vsmtp-${name}";
              nativeBuildInputs = (old.nativeBuildInputs or [ ]) ++ [
                pkgs.clippy
                pkgs.rustfmt
              ];
              buildPhase = command;
              doCheck = false;
              installPhase = "touch $out";
            });
        in
        testsFor pkgs
        // {
          package = vsmtp;
          example = self.legacyPackages.${pkgs.stdenv.hostPlatform.system}.evaluations.example.configuration;
          rustfmt = lint "rustfmt" "cargo fmt --check";
          clippy = lint "clippy" "cargo clippy --offline --all-targets -- -D warnings";
          nixfmt = pkgs.runCommand "vsmtp-nixfmt" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
            find ${./flake.nix} ${./nixos} -name '*.nix' -exec nixfmt --check {} +
            touch $out
          '';
        }
      );

      # For nixos/tests/run: the nodes of the tests as folders of unit files, for machines that have systemd and no NixOS,
      # and configurations that must not work.
      legacyPackages = forEachSystem (pkgs: {
        renderedTests = lib.mapAttrs (
          _: test: import ./nixos/tests/support/render.nix { inherit lib pkgs test; }
        ) (testsFor pkgs);
        evaluations = import ./nixos/tests/support/evaluations.nix { inherit lib pkgs; };
      });

      formatter = forEachSystem (pkgs: pkgs.nixfmt-tree);

      devShells = forEachSystem (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.vsmtp ];
          packages = [
            pkgs.clippy
            pkgs.nixfmt
            pkgs.openssl
            pkgs.python3
            pkgs.rust-analyzer
            pkgs.rustfmt
            pkgs.swaks
          ];
        };
      });
    };
}
