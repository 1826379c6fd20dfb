# A system that gives less away and lets less in.
{ config, lib, ... }:
{
  config = lib.mkIf (lib.elem "hardened" config.homelab.profiles) {
    boot.kernel.sysctl = {
      "kernel.kptr_restrict" = lib.mkDefault 2;
      "kernel.dmesg_restrict" = lib.mkDefault 1;
      "kernel.unprivileged_bpf_disabled" = lib.mkDefault 1;
      "net.core.bpf_jit_harden" = lib.mkDefault 2;
      "net.ipv4.conf.all.accept_redirects" = lib.mkDefault 0;
      "net.ipv6.conf.all.accept_redirects" = lib.mkDefault 0;
      "net.ipv4.conf.all.log_martians" = lib.mkDefault 1;
    };
    boot.blacklistedKernelModules = [ "dccp" "sctp" "rds" "tipc" ];
    security.apparmor.enable = lib.mkDefault true;
    security.sudo.execWheelOnly = lib.mkDefault true;
    services.openssh.settings.AllowAgentForwarding = lib.mkDefault false;
    services.openssh.settings.AllowTcpForwarding = lib.mkDefault false;
  };
}
