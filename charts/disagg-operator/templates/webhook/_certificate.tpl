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
The self-made certificate, as a YAML map of ca, certificate and key in base64, and of the time after which an upgrade
renews it. One that the release already has is kept until then: pods and API server must agree on it. With a new one,
the API server goes on to trust the old one's authority as well, since pods see the new one up to two minutes later. It
is made once for all templates of a rendering, because each call would make another one.
*/}}
{{- define "disagg-operator.webhookCertificate" -}}
{{- if not (hasKey .Values.webhook "made") }}
{{- $name := include "disagg-operator.webhookName" . }}
{{- $there := lookup "v1" "Secret" .Release.Namespace $name }}
{{- $data := dig "data" (dict) ($there | default dict) }}
{{- $whole := and (hasKey $data "ca.crt") (hasKey $data "tls.crt") (hasKey $data "tls.key") }}
{{- $notes := dig "metadata" "annotations" (dict) ($there | default dict) }}
{{- $renew := index $notes "disagg.dev/renew-after" | default "" }}
{{- $asked := index $notes "disagg.dev/renew" | default "" }}
{{- $old := and $renew (lt (int64 $renew) (int64 (now | unixEpoch))) }}
{{- $due := or $old (ne $asked (index $notes "disagg.dev/renewed-for" | default "")) }}
{{- if and $whole (not $due) }}
{{- $_ := set .Values.webhook "made" (dict "ca" (index $data "ca.crt") "certificate" (index $data "tls.crt") "key" (index $data "tls.key") "renew" $renew "asked" $asked) }}
{{- else }}
{{- $host := printf "%s.%s.svc" $name .Release.Namespace }}
{{- /* The first authority of the file is the newest; one is enough to bridge the change. */}}
{{- $end := "-----END CERTIFICATE-----\n" }}
{{- $before := "" }}
{{- if $whole }}
{{- $before = printf "%s%s" (index $data "ca.crt" | b64dec | splitList $end | first) $end }}
{{- end }}
{{- $ca := genCA (printf "%s-ca" $name) 3650 }}
{{- $pair := genSignedCert $host nil (list $host) 3650 $ca }}
{{- $_ := set .Values.webhook "made" (dict "ca" (b64enc (printf "%s%s" $ca.Cert $before)) "certificate" (b64enc $pair.Cert) "key" (b64enc $pair.Key) "renew" (now | mustDateModify "+52560h" | unixEpoch) "asked" $asked) }}
{{- end }}
{{- end }}
{{- toYaml .Values.webhook.made }}
{{- end }}
