# Everything that makes a host of a lab. `homelab.lab` is lab.json, `homelab.name` says which of its hosts this is.
{
  imports = [
    ./options.nix
    ./secrets.nix
    ./base.nix
    ./deploy.nix
    ./exporters.nix
    ./hardware
    ./k3s.nix
    ./networking.nix
    ./profiles
    ./readings.nix
    ./services
    ./unfree.nix
    ./user.nix
  ];
}
