# The machine below the system, by the board that lab.json names. What only a Pi has (pi.nix) is no part of it: its
# options come with nixos-raspberrypi.
{
  imports = [
    ./disks.nix
    ./iso.nix
    ./vm.nix
    ./uefi.nix
  ];
}
