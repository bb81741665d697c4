{{/* A reference to a key of a Secret: (dict "root" $ "of" .Values.secrets.recordsUrl "trial" "records-url"). */}}
{{- define "tidemill.secretKey" -}}
{{- if .of.existingSecret -}}
name: {{ .of.existingSecret | quote }}
key: {{ .of.key | quote }}
{{- else -}}
name: {{ include "tidemill.fullname" .root }}-trial
key: {{ .trial }}
{{- end -}}
{{- end -}}

{{/* What every process of the platform has in its environment: where things are. */}}
{{- define "tidemill.environment" -}}
- name: TIDEMILL_STATE_URL
  valueFrom:
    secretKeyRef:
      {{- include "tidemill.secretKey" (dict "root" . "of" .Values.secrets.recordsUrl "trial" "records-url") | nindent 6 }}
- name: TIDEMILL_TRACKING_URI
  value: {{ include "tidemill.mlflowUri" . | quote }}
{{- if or .Values.secrets.brokerUrl.existingSecret .Values.trial.enabled }}
- name: TIDEMILL_BROKER_URL
  valueFrom:
    secretKeyRef:
      {{- include "tidemill.secretKey" (dict "root" . "of" .Values.secrets.brokerUrl "trial" "broker-url") | nindent 6 }}
{{- end }}
{{- with .Values.secrets.apiKey }}
{{- if .existingSecret }}
- name: TIDEMILL_API_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{- with .Values.secrets.privacyKey }}
{{- if .existingSecret }}
- name: TIDEMILL_PRIVACY_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .key | quote }}}}
{{- end }}
{{- end }}
{{ include "tidemill.objectStore" . }}
- name: TIDEMILL_KUBERNETES_RELEASE
  value: {{ include "tidemill.fullname" . }}
# TLS ends in front of the pods: at the Ingress, the Gateway or a mesh.
- name: TIDEMILL_PLAIN_HTTP
  value: accepted
# Of the commits that turns make.
- name: GIT_AUTHOR_NAME
  value: Tidemill
- name: GIT_AUTHOR_EMAIL
  value: tidemill@localhost
- name: GIT_COMMITTER_NAME
  value: Tidemill
- name: GIT_COMMITTER_EMAIL
  value: tidemill@localhost
{{ include "tidemill.home" . }}
{{- end -}}

{{/* Nothing but /tmp and the volumes can be written. */}}
{{- define "tidemill.home" -}}
- name: HOME
  value: /tmp
- name: PYTHONUNBUFFERED
  value: "1"
- name: PYTHONDONTWRITEBYTECODE
  value: "1"
{{- end -}}

{{/* How the object store is reached, as Amazon's libraries read it. */}}
{{- define "tidemill.objectStore" -}}
{{- with .Values.secrets.objectStore -}}
{{- if .existingSecret -}}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .idKey | quote }}}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .secretKey | quote }}}}
{{ end -}}
{{- end -}}
{{- with .Values.objectStore.endpoint -}}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
- name: MLFLOW_S3_ENDPOINT_URL
  value: {{ . | quote }}
{{ end -}}
- name: AWS_REGION
  value: {{ default "us-east-1" .Values.objectStore.region | quote }}
{{- end -}}
