# The host's part in the cluster. A lab may have none, so nothing here may look into it outside of a value.
{ config, lib, pkgs, ... }:
let
  inherit (config.homelab) lab host;
  inherit (lab) cluster;
  first = lib.head cluster.servers;
  isServer = host.k3s == "server";
  isFirst = host.name == first;
  hasToken = (cluster.settings.token or null) != null;
  needsToken = !isFirst || hasToken;
  api = if cluster.api_address != null then cluster.api_address else "${first}.${lab.network.domain}";
  inherit (cluster.settings.api) names port;
  minorOf = version: lib.concatStringsSep "_" (builtins.match "v?([0-9]+)[.]([0-9]+).*" version);
  minor = minorOf cluster.version;
  # Another minor than the lab's would change the datastore for good, so none is taken in its place.
  pinned = builtins.tryEval (pkgs."k3s_${minor}" or null);
  has = name: (builtins.tryEval (pkgs."k3s_${name}" or null)).value or null != null;
  offered = lib.filter has (map (number: "1_${toString number}") (lib.range 28 45));
  flag = name: value: "--${name}=${value}";
  serverFlags = [
    (flag "cluster-cidr" lab.network.pod_cidr)
    (flag "service-cidr" lab.network.service_cidr)
    (flag "https-listen-port" (toString port))
    (flag "write-kubeconfig-mode" "0640")
  ]
  ++ map (flag "tls-san") (lib.unique ([ api ] ++ names))
  ++ cluster.settings.server_flags;
in
{
  config = lib.mkIf (host.k3s != null) {
    services.k3s = {
      enable = true;
      package = lib.mkDefault (
        if pinned.success && pinned.value != null then
          pinned.value
        else
          throw "${host.name}: this nixpkgs has no k3s ${lib.replaceStrings [ "_" ] [ "." ] minor} (cluster.version is ${cluster.version}), it has ${lib.concatMapStringsSep ", " (lib.replaceStrings [ "_" ] [ "." ]) offered}. Set cluster.version to one of them, one minor at a time."
      );
      role = host.k3s;
      nodeName = host.name;
      nodeIP = host.address;
      nodeLabel = lib.mapAttrsToList (name: value: "${name}=${value}") host.labels;
      nodeTaint = host.taints;
      gracefulNodeShutdown.enable = lib.mkDefault true;
      extraKubeletConfig = cluster.settings.kubelet;
      extraFlags = if isServer then serverFlags else cluster.settings.agent_flags;
      disable = lib.mkIf isServer cluster.disabled;
      clusterInit = isServer && isFirst && cluster.datastore == "etcd";
      serverAddr = lib.mkIf (!isFirst) "https://${api}:${toString port}";
      # A file: an option's value would lie in the store, where everybody may read it. The first server makes the token
      # when it starts, unless the lab has one; a deploy brings it to the others.
      tokenFile = lib.mkIf needsToken config.homelab.secrets.k3s-token.path;
    };
    homelab.secrets = lib.mkIf needsToken { k3s-token.units = [ "k3s.service" ]; };
    homelab.health.units = [ "k3s.service" ];

    # What pods reach of the node itself; the ports of the API, flannel and the kubelet are rules of lab.json.
    networking.firewall.trustedInterfaces = [ "cni0" "flannel.1" ];
  };
}
