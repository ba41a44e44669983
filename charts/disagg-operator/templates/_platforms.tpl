{{/* Profiles of machines and fabrics, mounted alike into whatever process plans deployments. */}}

{{/* "true" if the release brings any. */}}
{{- define "disagg-operator.hasPlatforms" -}}
{{- if or .Values.platforms.machines .Values.platforms.fabrics }}true{{ end }}
{{- end }}

{{/* Annotation by which a change restarts the pods. */}}
{{- define "disagg-operator.platformsChecksum" -}}
checksum/platforms: {{ toYaml .Values.platforms | sha256sum }}
{{- end }}

{{- define "disagg-operator.platformsVariable" -}}
- name: DISAGG_PLATFORMS
  value: /etc/disagg-operator/platforms
{{- end }}

{{- define "disagg-operator.platformsMount" -}}
- name: platforms
  mountPath: /etc/disagg-operator/platforms
  readOnly: true
{{- end }}

{{- define "disagg-operator.platformsVolume" -}}
- name: platforms
  configMap:
    name: {{ include "disagg-operator.fullname" . }}-platforms
    items:
      {{- range $folder, $profiles := .Values.platforms }}
      {{- range $name, $_ := $profiles }}
      - key: {{ printf "%s.%s.yaml" $folder $name }}
        path: {{ printf "%s/%s.yaml" $folder $name }}
      {{- end }}
      {{- end }}
{{- end }}
