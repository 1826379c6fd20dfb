{{- /* A part of the platform: web, daemon, code. */}}
{{- define "platform.labels" -}}
app.kubernetes.io/name: homelab-platform
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "platform.common" -}}
app.kubernetes.io/name: homelab-platform
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "platform.home" -}}/home/homelab{{- end }}
{{- define "platform.lab" -}}/etc/homelab/lab{{- end }}
{{- define "platform.settings" -}}/etc/homelab/dagster{{- end }}

{{- /* A key for a file in a ConfigMap; the letter keeps a hash of digits from being read as a number. */}}
{{- define "platform.fileKey" -}}
f{{ . | sha256sum | trunc 15 }}
{{- end }}

{{- /* The environment of a part: a list of {name, value} and {name, secret, key}. Who works with readings knows S3. */}}
{{- define "platform.environment" -}}
{{- $v := .root.Values }}
{{- $home := include "platform.home" .root }}
- {name: DAGSTER_HOME, value: {{ $home }}}
- {name: HOME, value: {{ $home }}}
- {name: HOMELAB_DATA, value: {{ $home }}/data}
- {name: HOMELAB_CACHE, value: {{ $home }}/cache}
- {name: MPLCONFIGDIR, value: {{ $home }}/cache/matplotlib}
- {name: HOMELAB_LAB, value: {{ include "platform.lab" .root }}/lab.yaml}
- {name: HOMELAB_PROFILE, value: cluster}
- {name: HOMELAB_PG_HOST, value: {{ $v.postgres.host | quote }}}
- {name: HOMELAB_PG_PORT, value: {{ $v.postgres.port | quote }}}
- {name: HOMELAB_PG_USER, value: {{ $v.postgres.user | quote }}}
- {name: HOMELAB_PG_DATABASE, value: {{ $v.postgres.database | quote }}}
- {name: HOMELAB_PG_PASSWORD, secret: {{ $v.postgres.secret.name }}, key: {{ $v.postgres.secret.key }}}
- {name: HOMELAB_LAKE_DATABASE, value: {{ $v.postgres.lake | quote }}}
{{- if has .part (list "code" "run_worker") }}
- {name: HOMELAB_S3_URL, value: {{ $v.s3.url | quote }}}
- {name: HOMELAB_S3_REGION, value: {{ $v.s3.region | quote }}}
- {name: HOMELAB_S3_ACCESS_KEY, secret: {{ $v.s3.secret.name }}, key: {{ $v.s3.secret.accessKey }}}
- {name: HOMELAB_S3_SECRET_KEY, secret: {{ $v.s3.secret.name }}, key: {{ $v.s3.secret.secretKey }}}
{{- end }}
{{- if eq .part "web" }}
- {name: HOMELAB_PAGE_NAMES, value: {{ include "platform.pageNames" .root | quote }}}
{{- end }}
# A busy node makes runs late, not red.
- {name: DAGSTER_GRPC_TIMEOUT_SECONDS, value: "1800"}
- {name: DAGSTER_REPOSITORY_GRPC_TIMEOUT_SECONDS, value: "1800"}
- {name: DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS, value: "600"}
- {name: DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS, value: "600"}
- {name: DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD, value: "10"}
- {name: PYTHONUNBUFFERED, value: "1"}
- {name: PYTHONWARNINGS, value: ignore}
# threads otherwise keep an arena of memory each, and give nothing of it back
- {name: MALLOC_ARENA_MAX, value: "1"}
- {name: MALLOC_TRIM_THRESHOLD_, value: "65536"}
# pyarrow's own allocator (mimalloc) keeps what it once had; the system's gives it back by the two settings above
- {name: ARROW_DEFAULT_MEMORY_POOL, value: system}
{{- end }}

{{- /* yes: the page shows everything and starts nothing. It has no sign-in, so an ingress makes it so unless somebody
       says `readOnly: false`, having put a sign-in in front. */}}
{{- define "platform.readOnly" -}}
{{- if kindIs "bool" .Values.web.readOnly }}{{ ternary "yes" "no" .Values.web.readOnly }}{{ else }}{{ ternary "yes" "no" (not (empty (.Values.ingress | default dict).host)) }}{{ end }}
{{- end }}

{{- /* The names under which the page answers: a request for another is some web page's that points its own name here. */}}
{{- define "platform.pageNames" -}}
{{- $names := list .Release.Name (printf "%s.%s" .Release.Name .Release.Namespace) (printf "%s.%s.svc" .Release.Name .Release.Namespace) (printf "%s.%s.svc.cluster.local" .Release.Name .Release.Namespace) }}
{{- with (.Values.ingress | default dict).host }}{{ $names = append $names . }}{{ end }}
{{- join "," $names }}
{{- end }}

{{- define "platform.tolerations" -}}
- {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: {{ .Values.leaveDeadNodeAfter }}}
- {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: {{ .Values.leaveDeadNodeAfter }}}
{{- end }}

{{- define "platform.pod" -}}
{{- $v := .root.Values }}
enableServiceLinks: false
{{- with $v.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
{{- with $v.nodes }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: {{ toJson . }}}]
{{- end }}
tolerations: {{- include "platform.tolerations" .root | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $v.user }}
  runAsGroup: {{ $v.user }}
  fsGroup: {{ $v.user }}
  seccompProfile: {type: RuntimeDefault}
volumes:
  - {name: home, emptyDir: {sizeLimit: 1Gi}}
  - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
  - {name: settings, configMap: {name: {{ .root.Release.Name }}-instance}}
  {{- if eq .part "code" }}
  - name: lab
    configMap:
      name: {{ .root.Release.Name }}-lab
      items:
        {{- range $file, $_ := $v.lab }}
        - {key: {{ include "platform.fileKey" $file }}, path: {{ $file | quote }}}
        {{- end }}
  {{- end }}
{{- end }}

{{- /* What each container of a part has: image, environment, rights, folders. */}}
{{- define "platform.container" -}}
image: {{ .root.Values.image }}
imagePullPolicy: {{ .root.Values.pullPolicy }}
env:
  {{- range include "platform.environment" . | fromYamlArray }}
  {{- if .secret }}
  - {name: {{ .name }}, valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}}
  {{- else }}
  - {name: {{ .name }}, value: {{ .value | quote }}}
  {{- end }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: home, mountPath: {{ include "platform.home" .root }}}
  - {name: tmp, mountPath: /tmp}
  - {name: settings, mountPath: {{ include "platform.home" .root }}/dagster.yaml, subPath: dagster.yaml, readOnly: true}
  - {name: settings, mountPath: {{ include "platform.settings" .root }}, readOnly: true}
  {{- if eq .part "code" }}
  - {name: lab, mountPath: {{ include "platform.lab" .root }}, readOnly: true}
  {{- end }}
{{- end }}

{{- /* Waits for the servers and makes databases and buckets that are missing, before anything else starts. */}}
{{- define "platform.ground" -}}
- name: ground
  command: [python3, -m, homelab_platform.servers.site.in_cluster]
  {{- include "platform.container" . | nindent 2 }}
  resources:
    requests: {cpu: 20m, memory: 64Mi}
    limits: {memory: 256Mi}
{{- end }}

{{- /* A pod starts anew when what it was told changes; only the code location is told the lab. */}}
{{- define "platform.told" -}}
homelab/told: {{ printf "%s%s" (include "platform.instance" .root) (ternary (toJson .root.Values.lab) "" (eq .part "code")) | sha256sum | trunc 16 | quote }}
{{- end }}

{{- define "platform.peers" -}}
{{- range . }}
- to:
    {{- if .workload }}
    - {namespaceSelector: {}, podSelector: {matchLabels: {app.kubernetes.io/instance: {{ .workload }}}}}
    {{- else }}
    - {ipBlock: {cidr: {{ required "network: a workload or a cidr" .cidr }}}}
    {{- end }}
  {{- with .ports }}
  ports:
    {{- range . }}
    - {port: {{ . }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}
