# The Nix system of a host, by the processor that lab.json names.
host:
{
  amd64 = "x86_64-linux";
  arm64 = "aarch64-linux";
  armv7 = "armv7l-linux";
  armv6 = "armv6l-linux";
}
.${host.arch}
