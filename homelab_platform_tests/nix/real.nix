# nix/ for one host under nixpkgs' own module system. What nixos-raspberrypi adds is declared here, since that flake is
# not: its options as it types them, and that no GRUB starts a Pi.
{ nixpkgs, root, lab, host }:
let
  theLab = builtins.fromJSON (builtins.readFile lab);
  theHost = theLab.hosts.${host};
  lib = import "${nixpkgs}/lib";
  isPi = import (builtins.toPath "${root}/lib/pi.nix") { inherit lib; } theHost != null;
  ofPi = {
    options.boot.loader.raspberry-pi = {
      bootloader = lib.mkOption { type = lib.types.enum [ "kernel" "uboot" "kernelboot" ]; };
      configurationLimit = lib.mkOption { type = lib.types.int; };
    };
    config.boot.loader.grub.enable = false;
    config.boot.loader.generic-extlinux-compatible.enable = true;
  };
  system = import "${nixpkgs}/nixos/lib/eval-config.nix" {
    system = null;
    specialArgs = {
      lab = theLab;
      host = theHost;
    };
    modules = [
      (builtins.toPath "${root}/modules")
      { nixpkgs.hostPlatform = import (builtins.toPath "${root}/lib/platform.nix") theHost; }
    ]
    ++ lib.optional isPi ofPi
    ++ lib.optional (isPi && theHost.settings.image or "none" == "sd") "${nixpkgs}/nixos/modules/installer/sd-card/sd-image.nix";
  };
in
{
  failed = map (a: a.message) (lib.filter (a: !a.assertion) system.config.assertions);
  inherit (system.config) warnings;
  inherit (system.config.networking) hostName;
  system = builtins.unsafeDiscardStringContext system.config.system.build.toplevel.drvPath;
}
