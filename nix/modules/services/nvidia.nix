# NVIDIA's driver, which is unfree: the lab must allow nvidia-x11, and cuda for CUDA.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) host;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.nvidia;
in
{
  options.homelab.services.nvidia = {
    enable = o.enable "NVIDIA's driver";
    cuda = o.flag true "Whether CUDA's compiler and libraries are installed.";
  };
  config = lib.mkIf cfg.enable {
    services.xserver.videoDrivers = [ "nvidia" ];
    hardware.graphics.enable = true;
    hardware.nvidia = {
      # Turing (2018) and later; older cards need `hardware.nvidia.open: false`.
      open = lib.mkOverride 900 true;
      modesetting.enable = lib.mkDefault true;
    };
    hardware.nvidia-container-toolkit.enable = lib.mkDefault (host.k3s != null || host.services ? docker);
    environment.systemPackages = lib.optional cfg.cuda pkgs.cudaPackages.cudatoolkit;
  };
}
