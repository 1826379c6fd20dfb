{{- define "app.labels" -}}
app.kubernetes.io/name: {{ .Release.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "app.volumeName" -}}
{{ .root.Release.Name }}-{{ .name }}
{{- end }}

{{- /* Text as people wrote it: Helm reads every number as a float and would write 1048576 as 1.048576e+06. */}}
{{- define "app.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- /* Twice the request, in its unit, unless said. */}}
{{- define "app.memoryLimit" -}}
{{- $request := include "app.text" .Values.requests.memory -}}
{{- $number := regexFind "^[0-9.]+" $request -}}
{{- if .Values.limits.memory }}{{ include "app.text" .Values.limits.memory }}
{{- else if contains "." $number }}{{ mulf 2 (float64 $number) | printf "%.3f" }}{{ regexFind "[A-Za-z]*$" $request }}
{{- else }}{{ mul 2 (int64 $number) }}{{ regexFind "[A-Za-z]*$" $request }}{{ end -}}
{{- end }}

{{- define "app.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Release.Name | quote }}{{ else }}default{{ end -}}
{{- end }}

{{- define "app.probe" -}}
{{- with .Values.probe }}
{{- if .http }}
httpGet: {path: {{ .http | quote }}, port: {{ .port | default "http" | toJson }}}
{{- else if .tcp }}
tcpSocket: {port: {{ toJson .tcp }}}
{{- else if .command }}
exec: {command: {{ toJson .command }}}
{{- end }}
{{- end }}
{{- end }}

{{- /* Whether an old and a new pod cannot run side by side: a volume and a port of the node have one holder. */}}
{{- define "app.alone" -}}
{{- if .Values.volumes }}alone{{ end }}
{{- range .Values.ports }}{{ if .hostPort }}alone{{ end }}{{ end }}
{{- end }}

{{- /* A key for a file in a ConfigMap; the letter keeps a hash of digits from being read as a number. */}}
{{- define "app.fileKey" -}}
f{{ . | sha256sum | trunc 15 }}
{{- end }}

{{- define "app.environment" -}}
{{- if or .Values.env .Values.secretEnv .Values.podEnv }}
env:
  {{- range $name, $value := .Values.env }}
  - {name: {{ $name | quote }}, value: {{ include "app.text" $value | quote }}}
  {{- end }}
  {{- range $name, $field := .Values.podEnv }}
  - {name: {{ $name | quote }}, valueFrom: {fieldRef: {fieldPath: {{ $field }}}}}
  {{- end }}
  {{- range $name, $from := .Values.secretEnv }}
  - {name: {{ $name | quote }}, valueFrom: {secretKeyRef: {name: {{ $from.secret | quote }}, key: {{ $from.key | quote }}}}}
  {{- end }}
{{- end }}
{{- end }}

{{- define "app.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: {{ .Values.readOnlyRoot }}
capabilities: {drop: [ALL], add: {{ toJson .Values.privileges }}}
{{- end }}

{{- define "app.mounts" -}}
{{- range $name, $volume := .Values.volumes }}
- {name: {{ $name | quote }}, mountPath: {{ $volume.mount | quote }}}
{{- end }}
{{- range $name, $path := .Values.hostPaths }}
- {name: host-{{ $name }}, mountPath: {{ $path.mount | quote }}, readOnly: true}
{{- end }}
{{- range $file, $text := .Values.config }}
- {name: config, mountPath: {{ $file | quote }}, subPath: {{ include "app.fileKey" $file }}, readOnly: true}
{{- end }}
{{- range $file, $from := .Values.secretFiles }}
- {name: secret-{{ $file | sha256sum | trunc 8 }}, mountPath: {{ $file | quote }}, subPath: {{ $from.key | quote }}, readOnly: true}
{{- end }}
{{- range $folder, $from := .Values.secretFolders }}
- {name: secrets-{{ $folder | sha256sum | trunc 8 }}, mountPath: {{ $folder | quote }}, readOnly: true}
{{- end }}
{{- range $index, $folder := .Values.scratch }}
- {name: scratch-{{ $index }}, mountPath: {{ $folder | quote }}}
{{- end }}
{{- end }}
