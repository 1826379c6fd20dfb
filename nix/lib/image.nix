# The image of a host out of what its system builds, by `settings.image` of lab.json.
{ host }:
build:
{
  sd = build.sdImage;
  iso = build.images.iso;
  qcow2 = build.images.qemu;
  virtualbox = build.images.virtualbox;
  hyperv = build.images.hyperv;
}
.${host.settings.image}
