{{- define "app.labels" -}}
app.kubernetes.io/name: {{ .Release.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "app.volumeName" -}}
{{ .root.Release.Name }}-{{ .name }}
{{- end }}

{{- /* A number of bytes per unit, so that a limit can be made of a request. */}}
{{- define "app.memoryLimit" -}}
{{- $request := .Values.requests.memory | toString -}}
{{- if .Values.limits.memory }}{{ .Values.limits.memory }}
{{- else }}{{ mul 2 (regexFind "^[0-9]+" $request | int64) }}{{ regexFind "[A-Za-z]*$" $request }}{{ end -}}
{{- end }}

{{- define "app.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Release.Name }}{{ else }}default{{ end -}}
{{- end }}

{{- define "app.probe" -}}
{{- with .Values.probe }}
{{- if .http }}
httpGet: {path: {{ .http | quote }}, port: {{ .port | default "http" }}}
{{- else if .tcp }}
tcpSocket: {port: {{ .tcp }}}
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
