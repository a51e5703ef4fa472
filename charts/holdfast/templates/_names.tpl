{{- /* Names and labels that several templates share. */ -}}

{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name -}}
{{- printf "%s-operator" (.Release.Name | trunc 43 | trimSuffix "-") -}}
{{- else -}}
{{- printf "%s-%s-operator" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "holdfast.lab.fullname" -}}
{{- printf "%s-lab" (include "holdfast.fullname" . | trimSuffix "-operator" | trunc 48 | trimSuffix "-") -}}
{{- end -}}

{{- define "holdfast.lab.selector" -}}
app.kubernetes.io/name: holdfast-lab
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.lab.labels" -}}
{{ include "holdfast.lab.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "holdfast.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "holdfast.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- /* registry/repository:tag@digest of (dict "image" … "version" …) */ -}}
{{- define "holdfast.image" -}}
{{- with .image.registry }}{{ . }}/{{ end }}{{ .image.repository }}:{{ default $.version .image.tag }}{{ with .image.digest }}@{{ . }}{{ end -}}
{{- end -}}
