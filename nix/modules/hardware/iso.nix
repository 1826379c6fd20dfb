# The ISO that a host starts from the first time: it runs from memory with the host's people and keys, so that the disks
# can be made and the system put on them (nixos-install). nixpkgs' own module for it starts by BIOS from a CD alone.
{ config, lib, ... }:
let
  inherit (config.homelab) host;
in
{
  image.modules = lib.mkIf ((host.settings.image or "none") == "iso") {
    iso =
      { config, lib, ... }:
      {
        isoImage.makeEfiBootable = true;
        isoImage.makeUsbBootable = true;
        # Those of the ISO, and none of the host's: its disks are yet to be made.
        fileSystems = lib.mkImageMediaOverride config.lib.isoFileSystems;
        swapDevices = lib.mkImageMediaOverride [ ];
      };
  };
}
