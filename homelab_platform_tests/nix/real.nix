# nix/ for one host under nixpkgs' own module system, built as lib/system.nix does. `raspberrypi` may name a checkout of
# nixos-raspberrypi; without it, what that adds is declared here: its options as it types them, and that no GRUB starts
# a Pi. pandoc and shellcheck are built by Haskell, which a slim nixpkgs lacks.
{ nixpkgs, root, lab, host, raspberrypi ? "" }:
let
  theLab = builtins.fromJSON (builtins.readFile lab);
  theHost = theLab.hosts.${host};
  lib = import "${nixpkgs}/lib";
  flake.lib = lib // { nixosSystem = args: import "${nixpkgs}/nixos/lib/eval-config.nix" ({ system = null; } // args); };
  ofPi = {
    options.boot.loader.raspberry-pi = {
      bootloader = lib.mkOption { type = lib.types.enum [ "kernel" "uboot" "kernelboot" ]; };
      configurationLimit = lib.mkOption { type = lib.types.int; };
    };
    config.boot.loader.grub.enable = false;
    config.boot.loader.generic-extlinux-compatible.enable = true;
  };
  kinds = lib.genAttrs [ "raspberry-pi-02" "raspberry-pi-3" "raspberry-pi-4" "raspberry-pi-5" ] (_: {
    base = ofPi;
    display-vc4 = { };
    display-rp1 = { };
    page-size-16k = { };
  });
  standIn = {
    lib.nixosSystem = flake.lib.nixosSystem;
    nixosModules = kinds // { sd-image = "${nixpkgs}/nixos/modules/installer/sd-card/sd-image.nix"; };
  };
  theirs = (import (builtins.toPath "${raspberrypi}/flake.nix")).outputs {
    self = theirs // { inputs.nixpkgs = flake; outPath = raspberrypi; };
    nixpkgs = flake;
    argononed = { };
    nixos-images = { };
  };
  system =
    import (builtins.toPath "${root}/lib/system.nix") {
      inherit lib;
      nixpkgs = flake;
      nixos-raspberrypi = if raspberrypi == "" then standIn else theirs;
      lab = theLab;
      own = builtins.toPath "${root}/own";
      inputs = { };
    } host theHost;
  slim = system.extendModules {
    modules = [
      {
        nixpkgs.overlays = [
          (final: prev: {
            pandoc = prev.emptyFile;
            shellcheck-minimal = prev.emptyFile // { compiler.bootstrapAvailable = false; };
          })
        ];
      }
    ];
  };
in
{
  failed = map (a: a.message) (lib.filter (a: !a.assertion) system.config.assertions);
  inherit (system.config) warnings;
  inherit (system.config.networking) hostName;
  system = builtins.unsafeDiscardStringContext slim.config.system.build.toplevel.drvPath;
}
