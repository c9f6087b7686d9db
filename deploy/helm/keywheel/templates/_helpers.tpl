{{- define "keywheel.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "keywheel.selector" -}}
app.kubernetes.io/name: keywheel
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keywheel.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "keywheel.selector" . }}
{{- end }}

{{- define "keywheel.secret" -}}
{{ .Values.secret.existing | default (include "keywheel.name" .) }}
{{- end }}

{{- define "keywheel.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The settings that the chart decides win over those given. */}}
{{- define "keywheel.config" -}}
{{- $ours := dict "server" (dict "host" "0.0.0.0" "port" 8080 "health_port" 9464 "shutdown_timeout" (printf "%ds" (int .Values.shutdownSeconds))) "store" (dict "data_dir" "/var/lib/keywheel") -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $ours) -}}
{{- end }}

{{- define "keywheel.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "keywheel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
