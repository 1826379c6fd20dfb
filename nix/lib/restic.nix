# Backups of one host by restic to targets of the lab: the entries of services.restic.backups, the secrets that they
# read and the places that must be mounted. Each host has a repository of its own in a target.
{ lib, lab, host, secrets }:
{ targets, paths, exclude, at }:
let
  parts = pattern: url: builtins.match pattern url;
  s3Hosts = {
    aws = "s3.amazonaws.com";
    wasabi = "s3.wasabisys.com";
    minio = "localhost:9000";
  };
  placeOf =
    name:
    let
      target = lab.targets.${name};
      ssh = parts "ssh://([^/:]+)(:([0-9]+))?(/.*)" target.url;
      s3 = parts "s3://([^@/]+)@([^/]+)(/.*)?" target.url;
      endpoint = target.settings.endpoint or s3Hosts.${lib.elemAt s3 1} or (lib.elemAt s3 1);
    in
    if ssh != null then
      "sftp:${lib.elemAt ssh 0}:${lib.elemAt ssh 3}/${host.name}"
    else if s3 != null && lib.elemAt s3 1 == "b2" && !(target.settings ? endpoint) then
      "b2:${lib.elemAt s3 0}:${host.name}"
    else if s3 != null then
      "s3:https://${lib.removePrefix "https://" endpoint}/${lib.elemAt s3 0}/${host.name}"
    else
      "/mnt/backup-${name}/${host.name}";
  isB2 = name: lib.hasPrefix "b2:" (placeOf name);
  isSsh = name: lib.hasPrefix "ssh://" lab.targets.${name}.url;
  credentials = name: lab.targets.${name}.credentials;
  hasKeys = name: credentials name ? key && credentials name ? secret;
  mountOf =
    name:
    let
      url = lab.targets.${name}.url;
      nfs = parts "nfs://([^/]+)(/.*)" url;
      usb = parts "usb://(.+)" url;
    in
    if nfs != null then
      { device = "${lab.hosts.${lib.head nfs}.address or (lib.head nfs)}:${lib.last nfs}"; fsType = "nfs"; }
    else if usb != null then
      { device = "/dev/disk/by-label/${lib.head usb}"; fsType = "auto"; }
    else
      null;
  mounted = lib.filter (name: mountOf name != null) targets;
in
{
  backups = lib.genAttrs targets (name: {
    repository = placeOf name;
    inherit paths exclude;
    passwordFile = secrets."restic-${name}".path;
    environmentFile = lib.mkIf (hasKeys name) secrets."restic-${name}-keys".path;
    extraOptions = lib.optional (isSsh name && credentials name ? key)
      "sftp.args='-i ${secrets."restic-${name}-ssh".path} -o StrictHostKeyChecking=accept-new'";
    initialize = true;
    pruneOpts = lib.mkDefault [ "--keep-daily 7" "--keep-weekly 4" "--keep-monthly 6" ];
    runCheck = lib.mkDefault true;
    timerConfig = {
      OnCalendar = at;
      Persistent = true;
      RandomizedDelaySec = "20m";
    };
  });
  secrets = lib.foldl' (all: name: all
    // { "restic-${name}".sources = lib.optionalAttrs (credentials name ? password) { value = (credentials name).password; }; }
    // lib.optionalAttrs (hasKeys name) {
      "restic-${name}-keys" = {
        sources = { inherit (credentials name) key secret; };
        template = if isB2 name then "B2_ACCOUNT_ID={key}\nB2_ACCOUNT_KEY={secret}\n" else "AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\n";
      };
    }
    // lib.optionalAttrs (isSsh name && credentials name ? key) {
      "restic-${name}-ssh".sources.value = (credentials name).key;
    }) { } targets;
  fileSystems = lib.listToAttrs (map (name: {
    name = "/mnt/backup-${name}";
    value = mountOf name // {
      options = [ "noauto" "nofail" "x-systemd.automount" "x-systemd.idle-timeout=10min" "x-systemd.mount-timeout=30s" ];
    };
  }) mounted);
}
