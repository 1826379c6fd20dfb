# One NixOS system from one host of lab.json. A Pi is built by nixos-raspberrypi's own function, with the nixpkgs that
# it was tested with; every other machine by nixpkgs'.
{ lib, nixpkgs, nixos-raspberrypi, lab }:
host:
let
  pi = import ./pi.nix { inherit lib; } host;
  specialArgs = { inherit lab host; };
  modules = [
    ../modules
    { nixpkgs.hostPlatform = import ./platform.nix host; }
  ];
in
if pi == null then
  nixpkgs.lib.nixosSystem { inherit specialArgs modules; }
else
  nixos-raspberrypi.lib.nixosSystem {
    specialArgs = specialArgs // {
      inherit nixos-raspberrypi;
    };
    modules =
      modules
      ++ [ nixos-raspberrypi.nixosModules."raspberry-pi-${pi}".base ]
      ++ lib.optional (pi == "5" && (host.settings.page_size or 0) == 16384)
        nixos-raspberrypi.nixosModules.raspberry-pi-5.page-size-16k
      ++ lib.optional ((host.settings.image or "none") == "sd") nixos-raspberrypi.nixosModules.sd-image;
  }
