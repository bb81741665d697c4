{{/* Security of a pod and of a container, as Pod Security "restricted" wants it, and read-only beyond that. */}}
{{- define "tidemill.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.runAsUser }}
runAsGroup: {{ .Values.podSecurity.runAsGroup }}
fsGroup: {{ .Values.podSecurity.runAsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "tidemill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* The fields of a container that name its image. */}}
{{- define "tidemill.containerImage" -}}
image: {{ include "tidemill.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* The beginning of a pod's spec: (dict "root" $ "component" "dashboard" "account" "dashboard" "of" .Values.dashboard). */}}
{{- define "tidemill.podStart" -}}
serviceAccountName: {{ include "tidemill.serviceAccount" (list .root .account) }}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
securityContext:
  {{- include "tidemill.podSecurity" .root | nindent 2 }}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "tidemill.selector" (list $.root $.component) | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Metadata of a pod: (dict "root" $ "component" "dashboard" "of" .Values.dashboard), and "annotations" of ours. */}}
{{- define "tidemill.podMetadata" -}}
labels:
  {{- $own := include "tidemill.ownLabels" (list .root .component) | fromYaml }}
  {{- toYaml (merge $own (default dict .of.podLabels) .root.Values.serviceAccounts.podLabels .root.Values.commonLabels) | nindent 2 }}
{{- with merge (dict) (default dict .annotations) (default dict .of.podAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Brings the project of the image into the volume, before anything reads it: (list $ "--merge"). */}}
{{- define "tidemill.projectContainer" -}}
{{- $root := index . 0 -}}
- name: project
  {{- include "tidemill.containerImage" $root | nindent 2 }}
  command: [python, -m, tidemill.kubernetes.project_clone]
  args: [--image, {{ $root.Values.project.imagePath | quote }}, --volume, {{ $root.Values.project.mountPath | quote }}{{ with index . 1 }}, {{ . }}{{ end }}]
  env:
    {{- include "tidemill.environment" $root | nindent 4 }}
  resources:
    requests: {cpu: 100m, memory: 128Mi}
    limits: {memory: 512Mi}
  securityContext:
    {{- include "tidemill.containerSecurity" $root | nindent 4 }}
  volumeMounts:
    {{- include "tidemill.projectMounts" $root | nindent 4 }}
{{- end -}}

{{- define "tidemill.projectMounts" -}}
- {name: project, mountPath: {{ .Values.project.mountPath | quote }}}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "tidemill.projectVolumes" -}}
- name: project
  persistentVolumeClaim: {claimName: {{ include "tidemill.projectClaim" . | quote }}}
- name: tmp
  emptyDir: {}
{{- end -}}

{{/* Metadata of an object: (list $ "component" "suffix of its name"), and labels that win. */}}
{{- define "tidemill.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "tidemill.fullname" $root }}-{{ index . 2 }}
namespace: {{ include "tidemill.namespace" $root | quote }}
labels:
  {{- $labels := include "tidemill.labels" (list $root (index . 1)) | fromYaml }}
  {{- if gt (len .) 3 }}{{ $labels = merge (dict) (index . 3) $labels }}{{ end }}
  {{- toYaml $labels | nindent 2 }}
{{- end -}}

{{/* Fails where a pod of these manifests would have a variable, a volume or a mount twice: (list OBJECT "whose"). */}}
{{- define "tidemill.refuseTwice" -}}
{{- $node := index . 0 -}}
{{- $whose := index . 1 -}}
{{- if kindIs "map" $node -}}
{{- range tuple (tuple "env" "name" "extraEnv") (tuple "volumes" "name" "extraVolumes") (tuple "volumeMounts" "mountPath" "extraVolumeMounts") -}}
{{- $seen := list -}}
{{- $key := index . 1 -}}
{{- $value := index . 2 -}}
{{- range get $node (index . 0) | default list -}}
{{- $name := get . $key -}}
{{- if has $name $seen -}}
{{- fail (printf "%s of %s: a container or pod would have %s twice: the chart sets it, or the values name it twice; take it out" $value $whose $name) -}}
{{- end -}}
{{- $seen = append $seen $name -}}
{{- end -}}
{{- end -}}
{{- range $node -}}
{{- include "tidemill.refuseTwice" (list . $whose) -}}
{{- end -}}
{{- else if kindIs "slice" $node -}}
{{- range $node -}}
{{- include "tidemill.refuseTwice" (list . $whose) -}}
{{- end -}}
{{- end -}}
{{- end -}}
