# The SD card image of a Pi: room for its generations on the firmware partition.
{ lib, ... }:
{
  sdImage = {
    firmwareSize = lib.mkDefault 1024;
    compressImage = lib.mkDefault false;
  };
}
