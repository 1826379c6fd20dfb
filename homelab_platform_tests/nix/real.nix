# nix/ for one host under nixpkgs' own module system. What nixos-raspberrypi adds is declared as options that take
# anything, since that flake is not here.
{ nixpkgs, root, lab, host }:
let
  theLab = builtins.fromJSON (builtins.readFile lab);
  theHost = theLab.hosts.${host};
  lib = import "${nixpkgs}/lib";
  system = import "${nixpkgs}/nixos/lib/eval-config.nix" {
    system = null;
    specialArgs = {
      lab = theLab;
      host = theHost;
    };
    modules = [
      (builtins.toPath "${root}/modules")
      {
        config.nixpkgs.hostPlatform = import (builtins.toPath "${root}/lib/platform.nix") theHost;
        options.boot.loader.raspberry-pi = lib.mkOption { type = lib.types.attrsOf lib.types.anything; };
        options.sdImage = lib.mkOption { type = lib.types.attrsOf lib.types.anything; };
        config.boot.loader.grub.enable = lib.mkDefault false;
        config.fileSystems."/" = lib.mkDefault {
          device = "/dev/disk/by-label/NIXOS_SD";
          fsType = "ext4";
        };
      }
    ];
  };
in
{
  failed = map (a: a.message) (lib.filter (a: !a.assertion) system.config.assertions);
  inherit (system.config) warnings;
  inherit (system.config.networking) hostName;
  system = builtins.unsafeDiscardStringContext system.config.system.build.toplevel.drvPath;
}
