# Everything that makes a host of a lab. `lab` is lab.json, `host` its part for this host.
{
  imports = [
    ./base.nix
    ./deploy.nix
    ./hardware
    ./k3s.nix
    ./networking.nix
    ./own.nix
    ./readings.nix
    ./services.nix
    ./user.nix
  ];
}
