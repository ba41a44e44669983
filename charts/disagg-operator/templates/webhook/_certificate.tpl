{{- define "disagg-operator.webhookName" -}}
{{ include "disagg-operator.fullname" . }}-webhook
{{- end }}

{{/* Labels that select the webhook's pods; they never change between versions. */}}
{{- define "disagg-operator.webhookSelectorLabels" -}}
app.kubernetes.io/name: {{ include "disagg-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{/*
The self-made certificate, as a YAML map of ca, certificate and key in base64. One that the release already has is
kept: pods and API server must agree on it, and an upgrade is no reason to change it. It is made once for all
templates of a rendering, because each call would make another one.
*/}}
{{- define "disagg-operator.webhookCertificate" -}}
{{- if not (hasKey .Values.webhook "made") }}
{{- $name := include "disagg-operator.webhookName" . }}
{{- $there := lookup "v1" "Secret" .Release.Namespace $name }}
{{- $data := dig "data" (dict) ($there | default dict) }}
{{- if and (hasKey $data "ca.crt") (hasKey $data "tls.crt") (hasKey $data "tls.key") }}
{{- $_ := set .Values.webhook "made" (dict "ca" (index $data "ca.crt") "certificate" (index $data "tls.crt") "key" (index $data "tls.key")) }}
{{- else }}
{{- $host := printf "%s.%s.svc" $name .Release.Namespace }}
{{- $ca := genCA (printf "%s-ca" $name) 3650 }}
{{- $pair := genSignedCert $host nil (list $host) 3650 $ca }}
{{- $_ := set .Values.webhook "made" (dict "ca" (b64enc $ca.Cert) "certificate" (b64enc $pair.Cert) "key" (b64enc $pair.Key)) }}
{{- end }}
{{- end }}
{{- toYaml .Values.webhook.made }}
{{- end }}
