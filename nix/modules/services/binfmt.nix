# Runs programs of other processors, and so builds for them.
{ config, lib, options, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.binfmt;
in
{
  options.homelab.services.binfmt = {
    enable = o.enable "emulation of other processors";
    systems = o.list [ "aarch64-linux" ] "Platforms that are emulated.";
  };
  config = lib.mkIf cfg.enable {
    boot.binfmt = {
      emulatedSystems = lib.filter (system: system != config.nixpkgs.hostPlatform.system) cfg.systems;
    }
    # In containers and sandboxes only a static emulator is found.
    // lib.optionalAttrs (options.boot.binfmt ? preferStaticEmulators) { preferStaticEmulators = lib.mkDefault true; };
  };
}
