# The machine below the system, by the board that lab.json names.
{
  imports = [
    ./disks.nix
    ./iso.nix
    ./pi.nix
    ./vm.nix
    ./x86.nix
  ];
}
