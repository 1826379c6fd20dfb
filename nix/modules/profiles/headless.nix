# A host without a screen: no rescue shell that waits for a keyboard.
{ config, lib, ... }:
{
  config = lib.mkIf (lib.elem "headless" config.homelab.profiles) {
    systemd.enableEmergencyMode = lib.mkDefault false;
    boot.loader.grub.splashImage = lib.mkDefault null;
    documentation.nixos.enable = lib.mkDefault false;
    fonts.fontconfig.enable = lib.mkDefault false;
  };
}
